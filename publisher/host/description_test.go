package host

import (
	"strings"
	"testing"
	"testing/iotest"

	"tidings/publisher"
)

func TestDescription_OfTheMountedHostNotOfTheContainer(t *testing.T) {
	host := newMachine(t)
	sources, err := New(host.config())
	if err != nil {
		t.Fatal(err)
	}
	d := mustBeat[Description](t, sources[1])
	if d.Name != "web-1.example.org" || d.Platform != "debian" || d.PlatformVersion != "13" ||
		d.CPUModel != "Example CPU @ 2.40GHz" || d.PhysicalCores != 1 || d.BootTime != 1790000000000 ||
		d.PublisherVersion != "1.2.3" || d.OS != "linux" || len(d.ID) != 32 || d.Kernel == "" || d.Arch == "" {
		t.Errorf("%s", show(d))
	}
	if show(d.Runtimes) != `[{"name":"docker","version":"29.0"}]` || show(d.Actions) != `["restart"]` {
		t.Errorf("%s", show(d))
	}
}

func TestDescription_RuntimesAreAskedOnEachBeat(t *testing.T) {
	c := newMachine(t).config()
	var found []publisher.Runtime
	c.Runtimes = func() []publisher.Runtime { return found }
	sources, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if d := mustBeat[Description](t, sources[1]); d.Runtimes != nil {
		t.Errorf("%s", show(d))
	}
	found = []publisher.Runtime{{Name: "podman", Version: "5.0"}}
	if d := mustBeat[Description](t, sources[1]); len(d.Runtimes) != 1 {
		t.Errorf("%s", show(d))
	}
}

// A host that can't read what it is made of is still there.
func TestDescription_IsSaidInAnyCase(t *testing.T) {
	host := newMachine(t)
	sources, err := New(host.config())
	if err != nil {
		t.Fatal(err)
	}
	host.remove("proc/stat")
	host.remove("root/etc")
	d, err := beat[Description](t, sources[1])
	if err == nil || !strings.Contains(err.Error(), "boot time: ") {
		t.Errorf("error %v", err)
	}
	if d.Name != "web-1.example.org" || d.ID != "" || d.Platform != "" {
		t.Errorf("%s", show(d))
	}
}

func TestIdentity_IsStableAndNeverTheMachineID(t *testing.T) {
	host := newMachine(t)
	first := readID(host.paths())
	if again := readID(host.paths()); again != first || first == "" {
		t.Errorf("%q, then %q", first, again)
	}
	if strings.Contains(fileSays(host.paths().inRoot("etc/machine-id")), first) {
		t.Error("the machine id goes over the network")
	}
	for name, text := range map[string]string{"uninitialized": "uninitialized", "empty": "", "zeros": strings.Repeat("0", 32), "not hex": strings.Repeat("xy", 16)} {
		host.write("root/etc/machine-id", text)
		if id := readID(host.paths()); id != "" {
			t.Errorf("%s: %q", name, id)
		}
	}
	host.write("sys/class/dmi/id/product_uuid", "01234567-89AB-CDEF-0123-456789ABCDEF\n")
	if id := readID(host.paths()); id != first {
		t.Errorf("the same 32 digits as a UUID give %q, not %q", id, first)
	}
}

func TestHostname_IsTheMountedHosts(t *testing.T) {
	host := newMachine(t)
	if name, err := Hostname(host.paths().root); name != "web-1.example.org" || err != nil {
		t.Errorf("%q %v", name, err)
	}
	host.remove("root/etc/hostname")
	own, err := Hostname("/")
	if err != nil {
		t.Fatal(err)
	}
	if name, err := Hostname(host.paths().root); name != own || err != nil {
		t.Errorf("%q %v, not %q", name, err, own)
	}
}

func FuzzParseOSRelease(f *testing.F) {
	f.Add("ID=debian\nVERSION_ID=\"13\"\n")
	f.Add("ID='arch'\n# no version\n")
	f.Add("ID=\"\nID=\n=\n")
	f.Fuzz(func(t *testing.T, text string) {
		id, version, err := parseOSRelease(strings.NewReader(text))
		slowID, slowVersion, slowErr := parseOSRelease(iotest.OneByteReader(strings.NewReader(text)))
		if id != slowID || version != slowVersion || (err == nil) != (slowErr == nil) {
			t.Errorf("%q: %q %q %v, byte by byte %q %q %v", text, id, version, err, slowID, slowVersion, slowErr)
		}
	})
}

func FuzzParseUptime(f *testing.F) {
	f.Add("12345.67 98765.43")
	f.Add("-1.0 2")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := parseUptime(text); err == nil && int64(n) < 0 {
			t.Errorf("%q is %d", text, n)
		}
	})
}
