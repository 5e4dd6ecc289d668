package host

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// readID is an id that a host keeps over boots and renames; empty if it has
// nothing to make one of. It never is the machine id itself: that is
// confidential, and machine-id(5) wants a keyed hash of it on a network.
func readID(p paths) string {
	for _, path := range []string{
		p.inRoot("etc/machine-id"),
		p.inRoot("var/lib/dbus/machine-id"),
		p.inSys("class/dmi/id/product_uuid"), // for root alone, so it comes last: the id must not depend on who asks
	} {
		if id := strings.ToLower(strings.ReplaceAll(fileSays(path), "-", "")); isMachineID(id) {
			return idFrom(id)
		}
	}
	return ""
}

// isMachineID refuses what stands in the file before the first boot is through
// ("uninitialized"), and ids that vendors forgot to set.
func isMachineID(id string) bool {
	if len(id) != 32 || strings.Count(id, id[:1]) == 32 {
		return false
	}
	_, err := hex.DecodeString(id)
	return err == nil
}

func idFrom(machineID string) string {
	h := hmac.New(sha256.New, []byte(machineID))
	h.Write([]byte("tidings host id"))
	return hex.EncodeToString(h.Sum(nil)[:16])
}
