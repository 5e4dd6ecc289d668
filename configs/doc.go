// Package configs holds the configuration of the three programs: the files of defaults, and how they are loaded.
//
// # The files are the defaults
//
// edge.yaml, publisher.yaml and tidings.yaml are embedded. There is no second list of defaults in the code: each key
// of a file is a field of [Edge], [Publisher] or [Tidings], with the comment above it as its documentation, also in --help.
//
// # The way of a value
//
//		flag  >  environment  >  --config file  >  embedded file
//
//	  - sections.go: the plain structs. A field's `yaml` tag is its key, a `flag` tag gives it a flag.
//	  - program.go: [Program] ties a struct to its file, and adds its flags to a pflag set.
//	  - load.go: viper finds the value of every key by precedence; value.go turns it into the field's type.
//	  - unknown.go: keys of the file and TIDINGS_ names of the environment that do not exist are refused, and the nearest is named.
//	  - faults.go: whatever is wrong is gathered, each fault with its key and where it came from, and told at once as [Faults].
//	  - print.go: the embedded file with the effective values in it, comments kept: what --print-config shows, and --config takes.
//
// The environment's name of a key is TIDINGS_ and the key in capitals with "_" for ".": stream.max_age is TIDINGS_STREAM_MAX_AGE.
// The environment is shared by the programs of a host, so a name that another of the three knows is no fault. An empty
// variable counts as not set. What Kubernetes puts there for a Service called tidings is not ours, and ignored.
//
// # Promises
//
//   - flags win over the environment, that over the file, that over the defaults: TestLoad_FlagsOverEnvironmentOverFileOverDefaults
//   - a misspelt key or name is refused, and the nearest is named: TestLoad_RefusesMisspelt
//   - all faults are told at once, each by its key and source: TestLoad_TellsAllFaultsAtOnce
//   - what is printed can be loaded again and is the same: TestPrint_RoundTrip; and shows no password: TestPrint_MasksPasswords
//   - every key is commented, and files and structs have the same keys: TestFiles_AreTheDefaults
//   - no file can crash the loader: FuzzLoad
//
// # What it refuses to do
//
// It knows viper and nothing of Tidings: no other package of the project is imported, the programs turn these structs into
// what edge, publisher and bus want. It watches no files: a change of configuration is a restart.
package configs
