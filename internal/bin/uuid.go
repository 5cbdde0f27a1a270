package bin

import "encoding/hex"

// UUID writes a UUID as it stands on a disk, in the order of its bytes: lower-case,
// with dashes; "" of fewer than 16 bytes.
func UUID(b []byte) string {
	if len(b) < 16 {
		return ""
	}
	h := hex.EncodeToString(b[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
