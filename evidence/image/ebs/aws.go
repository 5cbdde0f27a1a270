//go:build ebs

package ebs

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ebs/types"
	"github.com/aws/smithy-go"
)

// Built says whether this program can ask the service.
const Built = true

// service is the API as AWS has it. Requests are made once: try makes them again.
type service struct{ client *ebs.Client }

// dial takes credentials, region and endpoint from where all of AWS's programs
// have them: the environment, ~/.aws, a container's or machine's role.
func dial(ctx context.Context, region string) (API, error) {
	options := []func(*config.LoadOptions) error{config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} })}
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	if c.Region == "" {
		return nil, errors.New("no region is set: write ebs:REGION/SNAPSHOT, or set AWS_REGION")
	}
	return service{ebs.NewFromConfig(c)}, nil
}

// List implements API. The service gives 100 blocks or more.
func (s service) List(ctx context.Context, snapshot string, start int64, most int, next string) (*Page, error) {
	in := &ebs.ListSnapshotBlocksInput{SnapshotId: &snapshot, MaxResults: aws.Int32(int32(max(100, most)))}
	if next != "" {
		in.NextToken = &next
	} else {
		in.StartingBlockIndex = aws.Int32(int32(start))
	}
	out, err := s.client.ListSnapshotBlocks(ctx, in)
	if err != nil {
		return nil, explain(err)
	}
	p := &Page{Next: aws.ToString(out.NextToken), Expires: aws.ToTime(out.ExpiryTime), BlockSize: int64(aws.ToInt32(out.BlockSize))}
	if gib := aws.ToInt64(out.VolumeSize); gib > 0 && gib <= maxVolume>>30 {
		p.Size = gib << 30
	}
	for _, b := range out.Blocks {
		p.Blocks = append(p.Blocks, Block{int64(aws.ToInt32(b.BlockIndex)), aws.ToString(b.BlockToken)})
	}
	return p, nil
}

// Get implements API.
func (s service) Get(ctx context.Context, snapshot string, block int64, token string, most int64) (data, sum []byte, err error) {
	out, err := s.client.GetSnapshotBlock(ctx, &ebs.GetSnapshotBlockInput{SnapshotId: &snapshot, BlockIndex: aws.Int32(int32(block)), BlockToken: &token})
	if err != nil {
		return nil, nil, explain(err)
	}
	defer out.BlockData.Close()
	if out.ChecksumAlgorithm != types.ChecksumAlgorithmChecksumAlgorithmSha256 {
		return nil, nil, fmt.Errorf("the sum of the data is %q, and not SHA-256", out.ChecksumAlgorithm)
	}
	if sum, err = base64.StdEncoding.DecodeString(aws.ToString(out.Checksum)); err != nil {
		return nil, nil, fmt.Errorf("the sum of the data: %w: %w", err, ErrTemporary)
	}
	if data, err = io.ReadAll(io.LimitReader(out.BlockData, most+1)); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", err, ErrTemporary)
	}
	return data, sum, nil
}

// denied are the codes of errors that no other request would not get.
var denied = []string{
	"AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "MissingAuthenticationTokenException",
	"ExpiredTokenException", "InvalidClientTokenId", "IncompleteSignature", "OptInRequired", "ResourceNotFoundException",
}

// explain says what to do about an error of the service.
func explain(err error) error {
	var invalid *types.ValidationException
	var api smithy.APIError
	switch {
	case errors.As(err, &invalid) && (invalid.Reason == types.ValidationExceptionReasonInvalidBlockToken || invalid.Reason == types.ValidationExceptionReasonInvalidPageToken):
		return fmt.Errorf("%w: %w", ErrToken, err)
	case retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err) == aws.TrueTernary:
		return fmt.Errorf("%w: %w", ErrTemporary, err)
	case errors.As(err, &api) && slices.Contains(denied, api.ErrorCode()):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case errors.As(err, &api):
		return err
	}
	if strings.Contains(err.Error(), "get identity: ") { // which has no type of its own
		return fmt.Errorf("%w: no credentials: %w", ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", ErrTemporary, err) // the answer is no answer
}

// Files are those that asking takes, of a process that may open no others:
// AWS's own, those that say how names and certificates are found.
func Files() []string {
	files := []string{
		"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols",
		"/etc/ssl", "/etc/pki/tls", "/etc/pki/ca-trust", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/usr/share/pki",
	}
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".aws"))
	}
	for _, v := range []string{
		"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR",
	} {
		if name := os.Getenv(v); name != "" {
			files = append(files, name)
		}
	}
	return files
}

// Ports are those that are connected to: of the service, of what gives a
// machine's or a container's role its credentials, of names, and of the
// addresses and proxies that the environment names.
func Ports() []uint16 {
	ports := []uint16{443, 80, 53}
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "AWS_ENDPOINT_URL") && !strings.HasSuffix(strings.ToUpper(name), "_PROXY") && name != "AWS_CONTAINER_CREDENTIALS_FULL_URI" {
			continue
		}
		value = strings.TrimPrefix(strings.TrimPrefix(value, "https://"), "http://")
		value, _, _ = strings.Cut(value, "/")
		if n, err := strconv.ParseUint(value[strings.LastIndexByte(value, ':')+1:], 10, 16); err == nil {
			ports = append(ports, uint16(n))
		}
	}
	return ports
}
