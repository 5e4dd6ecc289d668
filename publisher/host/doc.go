// Package host reads what a machine is and how busy it is, and emits it as the
// payloads of host.<host> and metrics.<host>. PAYLOADS.md in the folder above says
// what each field means and what OpenTelemetry and node_exporter call it.
//
// # The way of one beat
//
// New (config.go) makes two sources. The metrics source (metrics.go) asks one
// reader for each part of the payload: cpu.go, memory.go, disks.go, networks.go,
// pressure.go, load.go, processes.go, filesystems.go, temperatures.go. Each file
// reads, parses and makes its part of the payload (payload.go) in functions of
// their own, so that a test can give the second what it likes. Cumulative counters
// become rates in rate.go. The description source (description.go, osrelease.go,
// identity.go) says what the host is, and by saying so every five seconds that it
// is there.
//
// gopsutil reads what it reads rightly from mounts elsewhere: processor times,
// load, interfaces, sensors, CPU model. procfs reads memory, pressure, mounts,
// block devices and the boot time; the files say why. /proc/<pid>/stat has a
// parser here, for its cost.
//
// # Inside a container
//
// With Proc, Sys and Root set to where the host's are mounted, everything is the
// host's. Three traps on the way: /proc/net and /proc/self are the reader's own
// namespaces in whatever /proc one looks them up, so process 1's are read; system
// calls answer for the own container, so files are read; and a mount that did not
// come along into the container looks like a directory of the filesystem below, so
// the device number is compared before statfs is believed. Paths reach gopsutil
// by context, never by the environment.
//
// # What is left out
//
//   - Filesystems: those that hold no data (proc, tmpfs, overlays of containers,
//     read-only images), bind mounts, and all mounts of a filesystem but the one by
//     which people know it: / before a whole one before a short path.
//   - Disks: partitions, memory and loop devices, drives without a medium, and what
//     is stacked on other disks (LVM, RAID, dm-crypt), so that the sum counts
//     nothing twice.
//   - Networks: lo, and the plumbing of containers, virtual machines and the kernel
//     (veth, docker0, br-…, cni, cali, virbr, …), whose traffic the host's own
//     interfaces carry too.
//   - Processes: arguments and environment, which hold secrets.
//   - The machine id itself, which is confidential.
//
// # Goroutines
//
// The publisher calls each source on its own goroutine, which owns the source's
// fields. slow.go starts one more per filesystem and for the sensors when a reading
// is due, and never a second one while the first runs. This is the one kind of
// goroutine that nobody waits for at the end, since the kernel may never let go
// of it: a statfs on a mount whose server is gone.
//
// # Promises
//
//   - The JSON has the documented keys and no others:
//     TestPayloads_KeyForKeyAsDocumented, TestDocumentation_NamesEveryField.
//   - Absent is unknown; the first beat has no rates:
//     TestMetrics_FirstBeatHasValuesButNoRates, TestMetrics_AbsentIsNoError.
//   - A reset or wrapped counter is never a spike:
//     TestRates_ResetOrWrapIsNeverASpike, TestDevices_ResetLeavesOneBeatWithoutRates.
//   - A part that can't be read harms no other:
//     TestMetrics_OnePartThatFailsHarmsNoOther, TestDescription_IsSaidInAnyCase.
//   - A dead mount hangs no beat: TestFilesystems_DeadMountHangsNoBeat.
//   - A beat costs milliseconds, and looking at processes a hundredth of one core
//     at most: TestMetrics_BeatCostsMilliseconds,
//     TestProcesses_ScanCostsAHundredthOfACoreAtMost.
//   - From inside a container it is the host that is described:
//     TestDescription_OfTheMountedHostNotOfTheContainer,
//     TestFilesystems_StatfsUnderTheRootReportsTheHostsMountpoint.
//
// On systems other than Linux the package builds, and knows what gopsutil knows
// there without /proc.
package host
