package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// rights are what a live capture keeps once its ring is open.
type rights struct {
	user     string   // to become; "": stay who we are
	readable []string // files and folders that may be read
	folders  []string // in which files may be written and removed
	files    []string // that may be written: pipes and devices
}

// drop gives up everything else, for good and for all threads: user, groups,
// every capability, the way to get them back by running another program, and
// access to files. A kernel without Landlock leaves files as the user's rights
// have them.
func (r rights) drop() error {
	_ = time.Now().Local().String() // reads the zone's file while it may
	if r.user != "" {
		if err := become(r.user); err != nil {
			return err
		}
	}
	if err := cap.NewSet().SetProc(); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	rules := []landlock.Rule{
		landlock.RODirs(existing(r.readable, true)...).IgnoreIfMissing(),
		landlock.ROFiles(existing(r.readable, false)...).IgnoreIfMissing(),
		landlock.RWDirs(r.folders...),
		landlock.RWFiles(r.files...),
	}
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return fmt.Errorf("give up access to files: %w", err)
	}
	return nil
}

// existing returns those paths that are folders, or those that are not.
func existing(paths []string, folders bool) (out []string) {
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() == folders {
			out = append(out, path)
		}
	}
	return out
}

// become turns root into another user, without root's groups.
func become(name string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("--user %s: only root can become another user", name)
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return fmt.Errorf("--user %s: no such user", name)
		}
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil || uid == 0 {
		return fmt.Errorf("--user %s: not a user without root's rights", name)
	}
	if err := syscall.Setgroups([]int{gid}); err != nil {
		return fmt.Errorf("--user %s: set groups: %w", name, err)
	}
	if err := syscall.Setgid(gid); err != nil {
		return fmt.Errorf("--user %s: set group: %w", name, err)
	}
	if err := syscall.Setuid(uid); err != nil {
		return fmt.Errorf("--user %s: set user: %w", name, err)
	}
	return nil
}
