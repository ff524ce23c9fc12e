//go:build !linux

package node

import (
	"fmt"
	"syscall"
)

// hardenProcess keeps keys and patient data out of core dumps.
func hardenProcess() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}
