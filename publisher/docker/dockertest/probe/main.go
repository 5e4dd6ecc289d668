//go:build linux

// Probe is the only program in the image that test containers run. Built
// statically and put into an image of its own, it does what a test asks: burn
// CPU, hold memory, send, write, fall sick, exit.
//
//	probe [run] [-burn N] [-hold BYTES] [-send BYTES] [-write BYTES] [-sick-after D] [-exit CODE -after D] [-linger D]
//	probe health      ends with 1 while the container is sick, else with 0: the image's HEALTHCHECK
//	probe sicken      makes the container sick
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// sickness is the file whose being there makes a container sick.
const sickness = "/sick"

func main() {
	command, arguments := "run", os.Args[1:]
	if len(arguments) > 0 && arguments[0][0] != '-' {
		command, arguments = arguments[0], arguments[1:]
	}
	switch command {
	case "run":
		run(arguments)
	case "health":
		if _, err := os.Stat(sickness); err == nil {
			os.Exit(1)
		}
	case "sicken":
		must(os.WriteFile(sickness, nil, 0o600))
	default:
		must(fmt.Errorf("unknown command %q", command))
	}
}

// run does its works at once, until SIGTERM or until -after has passed.
func run(arguments []string) {
	flags := flag.NewFlagSet("run", flag.ExitOnError)
	burn := flags.Int("burn", 0, "cores to keep busy")
	hold := flags.Int("hold", 0, "bytes of memory to hold")
	send := flags.Int("send", 0, "bytes a second to send to the default gateway's network")
	write := flags.Int("write", 0, "bytes a second to write to the disk, past the cache")
	sickAfter := flags.Duration("sick-after", 0, "time until it falls sick")
	code := flags.Int("exit", 0, "exit code")
	after := flags.Duration("after", 0, "time until it exits")
	linger := flags.Duration("linger", 0, "time that it goes on after SIGTERM")
	must(flags.Parse(arguments))

	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)

	for range *burn {
		go spin()
	}
	held := make([]byte, *hold)
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1
	}
	if *send > 0 {
		go sendAway(*send)
	}
	if *write > 0 {
		go writeOut(*write)
	}
	var sick, end <-chan time.Time
	if *sickAfter > 0 {
		sick = time.After(*sickAfter)
	}
	if *after > 0 {
		end = time.After(*after)
	}
	for {
		select {
		case <-sick:
			must(os.WriteFile(sickness, nil, 0o600))
		case <-end:
			os.Exit(*code)
		case <-terminated:
			time.Sleep(*linger)
			os.Exit(*code)
		}
	}
}

func spin() {
	for spun := 0; ; spun++ {
		runtime.KeepAlive(spun) // something that the compiler leaves in
	}
}

// sendAway sends to the limited broadcast address: it needs no peer and no
// address resolution to leave by the container's interface.
func sendAway(bytesPerSecond int) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	must(err)
	must(syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_BROADCAST, 1))
	everywhere := &syscall.SockaddrInet4{Port: 9, Addr: [4]byte{255, 255, 255, 255}}
	datagram := make([]byte, 1000)
	for range pace(bytesPerSecond, len(datagram)) {
		must(syscall.Sendto(socket, datagram, 0, everywhere))
	}
}

// writeOut syncs each block, so that the block device sees it.
func writeOut(bytesPerSecond int) {
	file, err := os.Create("/written")
	must(err)
	block := make([]byte, 64<<10)
	for range pace(bytesPerSecond, len(block)) {
		_, err := file.WriteAt(block, 0)
		must(err)
		must(file.Sync())
	}
}

// pace ticks so that one piece a tick makes the rate.
func pace(bytesPerSecond, piece int) <-chan time.Time {
	return time.Tick(time.Second * time.Duration(piece) / time.Duration(bytesPerSecond))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(125)
	}
}
