package node

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hardenProcess keeps keys and patient data out of core dumps, and other
// processes of the same user out of our memory.
func hardenProcess() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid attaching to the process: %w", err)
	}
	return nil
}
