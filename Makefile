# The few commands of this project. `make test` is what README.md names.
FUZZTIME ?= 60s
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.0

.PHONY: build test short fuzz bench figures lint dist

build:
	CGO_ENABLED=0 go build -trimpath -o lagan ./cmd/lagan

test:
	go test -timeout 20m ./...
	go test -tags ebs ./evidence/image/ebs
	go test -tags ebs -run EBS ./cmd/lagan

# what takes Go alone and a minute: no real tools, no whole disks
short:
	go test -short ./...

# every fuzz target of every package, FUZZTIME each
fuzz:
	go run ./scripts/fuzzall -time $(FUZZTIME)

bench:
	go test -run '^$$' -bench . -benchmem ./...

# the shape of each package: sizes, comments, tests
figures:
	go run ./scripts/figures

lint:
	test -z "$$(gofmt -l .)"
	go vet ./...
	go vet -tags ebs ./evidence/image/... ./cmd/lagan
	go run $(STATICCHECK) ./...

# a release in dist/: binaries, Debian packages, an OCI image, checksums; the same bytes from the same commit
dist:
	go run ./scripts/dist -o dist
