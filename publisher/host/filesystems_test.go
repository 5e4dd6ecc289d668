package host

import (
	"bufio"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A mount whose server is gone hangs every question to it, for good.
func TestFilesystems_DeadMountHangsNoBeat(t *testing.T) {
	host := newMachine(t)
	source := host.metrics()
	alive := make(chan struct{})
	var questions atomic.Int32
	source.filesystems.usage = func(path, _, kind string) (usage, error) {
		if kind == "nfs4" {
			questions.Add(1)
			<-alive
		}
		return usage{1000, 600, 300}, nil
	}
	for range 3 {
		start := time.Now()
		m := mustBeat[Metrics](t, source)
		if took := time.Since(start); took > slowWait+500*time.Millisecond {
			t.Errorf("a beat took %v", took)
		}
		if len(m.Filesystems) != 4 {
			t.Errorf("the others are not there: %s", show(m.Filesystems))
		}
	}
	// Gone from the list and back: it is remembered that it still hangs.
	source.filesystems.setMounts(nil)
	source.filesystems.mountsAt = time.Time{}
	mustBeat[Metrics](t, source)
	if n := questions.Load(); n != 1 {
		t.Errorf("the dead mount was asked %d times at once", n)
	}
	close(alive)
	for deadline := time.Now().Add(5 * time.Second); len(mustBeat[Metrics](t, source).Filesystems) != 5; {
		if time.Now().After(deadline) {
			t.Fatal("the mount came back, but is not seen")
		}
	}
}

func TestFilesystems_HangingQuestionIsNotAskedTwice(t *testing.T) {
	answer := make(chan struct{})
	var questions atomic.Int32
	s := slow[int]{keep: time.Minute, read: func() (int, error) {
		questions.Add(1)
		<-answer
		return 7, nil
	}}
	now := time.Now()
	first := s.ask(now)
	for range 5 {
		now = now.Add(time.Hour)
		if s.ask(now) != first {
			t.Error("asked again while the first question hangs")
		}
	}
	close(answer)
	<-first
	if n := questions.Load(); n != 1 {
		t.Errorf("%d questions", n)
	}
}

func TestFilesystems_OldAnswerIsUnknown(t *testing.T) {
	s := slow[int]{keep: time.Second, read: func() (int, error) { return 7, nil }}
	now := time.Now()
	<-s.ask(now)
	if v, err, ok := s.last(now); v != 7 || err != nil || !ok {
		t.Errorf("fresh: %v %v %v", v, err, ok)
	}
	if _, _, ok := s.last(now.Add(time.Minute)); ok {
		t.Error("a minute old, and still believed")
	}
}

func TestMounts_RootDeviceByItsRealName(t *testing.T) {
	host := newMachine(t)
	host.write("proc/1/mountinfo", "1 0 8:1 / / rw - ext4 /dev/root rw\n")
	if err := os.MkdirAll(host.paths().inSys("dev/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../devices/pci/block/sda/sda1", host.paths().inSys("dev/block/8:1")); err != nil {
		t.Fatal(err)
	}
	mounts, err := readMounts(host.paths())
	if err != nil || len(mounts) != 1 || mounts[0].device != "/dev/sda1" {
		t.Errorf("%+v %v", mounts, err)
	}
}

// In a container that sees nothing but itself, / is an overlay, and the files
// that the engine binds into it are no filesystems.
func TestMounts_OfAContainerAlone(t *testing.T) {
	host := newMachine(t)
	host.write("proc/1/mountinfo", strings.Join([]string{
		"1 0 0:50 / / rw - overlay overlay rw,lowerdir=/a",
		"2 1 8:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/sda1 rw",
		"3 1 0:52 / /dev/shm rw - tmpfs shm rw",
	}, "\n")+"\n")
	mounts, err := readMounts(host.paths())
	if err != nil || len(mounts) != 1 || mounts[0].point != "/" {
		t.Errorf("%+v %v", mounts, err)
	}
}

// A btrfs with its root in a subvolume is "/" to people, wherever else its top is mounted.
func TestMounts_RootIsTheRoot(t *testing.T) {
	host := newMachine(t)
	host.write("proc/1/mountinfo", strings.Join([]string{
		"1 0 0:30 /@ / rw - btrfs /dev/sda1 rw,subvol=/@",
		"2 1 0:30 / /mnt/pool rw - btrfs /dev/sda1 rw,subvol=/",
	}, "\n")+"\n")
	mounts, err := readMounts(host.paths())
	if err != nil || len(mounts) != 1 || mounts[0].point != "/" {
		t.Errorf("%+v %v", mounts, err)
	}
}

func FuzzUnescapeMount(f *testing.F) {
	f.Add(`/mnt/my\040share`)
	f.Add(`\134\`)
	f.Add(`\999\0`)
	f.Fuzz(func(t *testing.T, text string) {
		plain := unescapeMount(text)
		if len(plain) > len(text) {
			t.Errorf("%q became longer: %q", text, plain)
		}
		// The kernel's own escaping brings any text back.
		escaped := strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace(plain)
		if again := unescapeMount(escaped); again != plain {
			t.Errorf("%q is written %q and read %q", plain, escaped, again)
		}
	})
}

func TestDeviceTypes_AreThoseWithoutNodevAndNoImages(t *testing.T) {
	types := deviceTypes(bufio.NewScanner(strings.NewReader("nodev\ttmpfs\n\text4\n\tsquashfs\n")))
	if len(types) != 1 || !types["ext4"] {
		t.Errorf("%v", types)
	}
}
