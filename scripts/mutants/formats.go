package main

import (
	"io"
	"iter"
	"slices"
	"time"

	"lagan/artifacts/access"
	"lagan/artifacts/audit"
	"lagan/artifacts/aws"
	"lagan/artifacts/containerlog"
	"lagan/artifacts/cron"
	"lagan/artifacts/fail2ban"
	"lagan/artifacts/falco"
	"lagan/artifacts/history"
	"lagan/artifacts/journal"
	"lagan/artifacts/kubeaudit"
	"lagan/artifacts/packages"
	"lagan/artifacts/sshkeys"
	"lagan/artifacts/sudoers"
	"lagan/artifacts/syslog"
	"lagan/artifacts/unit"
	"lagan/artifacts/utmp"
	"lagan/evidence/btrfs"
	"lagan/evidence/erofs"
	"lagan/evidence/ext4"
	"lagan/evidence/image/ewf"
	"lagan/evidence/image/qcow2"
	"lagan/evidence/image/vdi"
	"lagan/evidence/image/vhd"
	"lagan/evidence/image/vhdx"
	"lagan/evidence/image/vmdk"
	"lagan/evidence/squashfs"
	"lagan/evidence/tarfs"
	"lagan/evidence/xfs"
)

// format is one decoder, the files that its mutants are made of, and how all
// of such a file is read. told gets every error and warning.
type format struct {
	name  string
	seeds func() ([]seed, error)
	read  func(m *mutant, told func(error))
}

func formats() []format {
	return slices.Concat(disks(), stores(), logs(), documents())
}

// disks are what a disk and its filesystems are made of.
func disks() []format {
	return []format{
		{"ext4", packed("evidence/ext4/testdata/*.img.*"), filesystem(open(ext4.Open))},
		{"jbd2", packed("evidence/ext4/testdata/crash/*.img.zst"), filesystem(open(ext4.Open))},
		{"xfs", packed("evidence/xfs/testdata/*.img.zst"), filesystem(open(xfs.Open))},
		{"xfs-log", crashed, filesystem(open(xfs.Open))},
		{"btrfs", packed("evidence/btrfs/testdata/*.img.zst"), filesystem(open(btrfs.Open))},
		{"erofs", packed("evidence/erofs/testdata/*.erofs.zst"), filesystem(open(erofs.Open))},
		{"squashfs", packed("evidence/squashfs/testdata/*.squashfs.zst"), filesystem(open(squashfs.Open))},
		{"partitions", partitioned, readVolumes},
		{"qcow2", converted("qcow2", "-o", "cluster_size=4096", "|", "-c", "|", "-o", "extended_l2=on"), container(func(m *mutant, warn func(error)) (disk, error) {
			return qcow2.Open(m, m.Size(), qcow2.Options{Warn: warn})
		})},
		{"vmdk", converted("vmdk", "-o", "subformat=monolithicSparse", "|", "-o", "subformat=streamOptimized"), container(func(m *mutant, warn func(error)) (disk, error) {
			return vmdk.Open(m, m.Size(), vmdk.Options{Warn: warn})
		})},
		{"vhd", converted("vpc", "-o", "subformat=dynamic,force_size=on"), container(func(m *mutant, warn func(error)) (disk, error) {
			return vhd.Open(m, m.Size(), vhd.Options{Warn: warn})
		})},
		{"vhdx", converted("vhdx", "-o", "block_size=1M"), container(func(m *mutant, warn func(error)) (disk, error) {
			return vhdx.Open(m, m.Size(), vhdx.Options{Warn: warn})
		})},
		{"vdi", converted("vdi"), container(func(m *mutant, _ func(error)) (disk, error) { return vdi.Open(m) })},
		{"ewf", acquired, container(func(m *mutant, warn func(error)) (disk, error) { return ewf.Open(m, ewf.Options{Warn: warn}) })},
		{"packed", packedDisks, readPacked},
		{"md", members("-r0", "-lin", "-r1", "-r10"), readMembers},
		{"lvm", members("-lvm"), readMembers},
		{"tarfs", sparseTars, filesystem(open(tarfs.Open))},
	}
}

// stores are what runtimes and tools keep.
func stores() []format {
	return []format{
		{"tar", layerTars, readTar},
		{"layer-blob", layerBlobs, readBlob},
		{"tar-split", tarSplits, readSplit},
		{"bolt", boltFiles, readBolt},
		{"sqlite", sqliteFiles, readSQLite},
		{"docker", dockerFiles, readDocker},
		{"containerd", containerdFiles, readContainerd},
		{"podman", podmanFiles, readPodman},
		{"buildkit", buildkitFiles, readBuildkit},
		{"kubernetes", kubernetesFiles, readKubernetes},
		{"checkpoint", packed("checkpoint/testdata/web.tar.gz"), readCheckpoint},
		{"rpm", rpmFiles, readRPM},
		{"hash-set", hashLists, readHashes},
		{"nspawn", text(nspawnSettings), readMachine},
		{"node", nodeDisks, readNode},
	}
}

// logs are what was written line by line, or entry by entry.
func logs() []format {
	return []format{
		{"journal", packed("analyzer/testdata/node.journal.gz"), func(m *mutant, told func(error)) {
			j, err := journal.Open(m, m.Size())
			if err != nil {
				told(err)
				return
			}
			drain(j.Entries(), told)
		}},
		{"utmp", nodeFiles("/var/log/wtmp", "/var/run/utmp", "/var/log/btmp"), stream(utmp.Read)},
		{"cri-log", text(criLog), stream(containerlog.CRI)},
		{"json-file", text(jsonLog), stream(containerlog.JSONFile)},
		{"local-log", text(localLog()), stream(containerlog.Local)},
		{"syslog", text(syslogLines), stream(func(r io.Reader) iter.Seq2[syslog.Entry, error] {
			return syslog.Read(r, syslog.Options{})
		})},
		{"daemon-log", text(daemonLog), stream(daemonEvents)},
		{"audit", text(auditLog), stream(audit.Read)},
		{"kube-audit", text(kubeAudit), stream(kubeaudit.Read)},
		{"cloud-logs", text(trail, flowLog), stream(aws.Read)},
		{"access-log", text(accessLog), stream(access.Read)},
		{"error-log", text(errorLog), stream(func(r io.Reader) iter.Seq2[access.Problem, error] { return access.ReadErrors(r, time.UTC) })},
		{"falco", text(falcoLog), stream(falco.Read)},
		{"fail2ban", text(banLog), stream(func(r io.Reader) iter.Seq2[fail2ban.Entry, error] { return fail2ban.Read(r, time.UTC) })},
		{"histories", text(bashHistory), stream(history.Bash)},
		{"zsh-history", text(zshHistory), stream(history.Zsh)},
		{"package-log", text(packageLog), stream(func(r io.Reader) iter.Seq2[packages.Entry, error] {
			return packages.Lines(r, packages.Options{})
		})},
		{"apt-history", text(aptHistory), stream(func(r io.Reader) iter.Seq2[packages.Entry, error] {
			return packages.AptHistory(r, packages.Options{})
		})},
	}
}

// documents are the files that say what a node is to do.
func documents() []format {
	return []format{
		{"cron", text(crontab), stream(func(r io.Reader) iter.Seq2[cron.Job, error] { return cron.Read(r, cron.System) })},
		{"at", text(atJob), func(m *mutant, told func(error)) {
			_, err := cron.ReadAt("a0000101d1e2f3", io.NewSectionReader(m, 0, m.Size()))
			told(err)
		}},
		{"unit", text(unitFile), func(m *mutant, told func(error)) {
			_, err := unit.Read(io.NewSectionReader(m, 0, m.Size()))
			told(err)
		}},
		{"sudoers", text(sudoersFile), stream(sudoers.Read)},
		{"authorized-keys", text(authorizedKeys), stream(sshkeys.Authorized)},
		{"known-hosts", text(knownHosts), stream(sshkeys.Known)},
		{"rules", text(ruleFile), readRules},
		{"indicators", text(indicatorList), readIndicators},
	}
}
