// Command lumen is a DICOM network node for endoscopy.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "version" {
		version := "(devel)"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
			version = info.Main.Version
		}
		fmt.Println("lumen", version)
		return
	}
	fmt.Fprintln(os.Stderr, "usage: lumen version")
	os.Exit(2)
}
