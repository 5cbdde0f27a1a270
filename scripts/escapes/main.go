// Command escapes exports trees that want out of the folder that they are
// written to, each with links and without, and counts what was found outside.
//
//	sudo go run ./scripts/escapes
//
// As root nothing but lagan itself keeps a file from being written; as another
// user it says so. The last line is "N exports, M escapes".
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// tests export every tree, into folders and into images of disks.
const tests = "^(TestDirHostile|TestRawHostile)$"

func main() {
	if os.Getuid() != 0 {
		fmt.Println("as an ordinary user, whom the system itself holds back: run it as root")
	}
	passed, failed, err := run()
	fmt.Printf("%d exports, %d escapes\n", passed+failed, failed)
	if err != nil || failed > 0 || passed == 0 {
		fmt.Fprintln(os.Stderr, "escapes:", err)
		os.Exit(1)
	}
}

// run counts the trees whose test passed, and those whose didn't.
func run() (passed, failed int, err error) {
	cmd := exec.Command("go", "test", "-count=1", "-json", "-run", tests, "./export")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var e struct{ Action, Test string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || !strings.Contains(e.Test, "/") {
			continue
		}
		switch e.Action {
		case "pass":
			passed++
		case "fail":
			failed++
			fmt.Println("escaped:", e.Test)
		}
	}
	return passed, failed, cmd.Wait()
}
