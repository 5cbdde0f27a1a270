package analyzer

import "testing"

func TestHoldsSecret(t *testing.T) {
	for _, path := range []string{
		"/root/.ssh/id_rsa", "/a/ID_ED25519", "/a/my-secret", "/a/Secrets.yaml", "/a/credentials", "/a/credentials.json", "/a/db_password", "/a/passwords.txt",
		"/a/.env", "/a/.env.production", "/a/.netrc", "/a/.pgpass", "/a/.git-credentials", "/a/.npmrc", "/a/.pypirc", "/a/.dockerconfigjson", "/root/.aws/config",
		"/a/kubeconfig", "/a/x.pem", "/a/x.KEY", "/a/x.p12", "/a/x.pfx", "/a/x.jks", "/a/x.keystore", "/a/x.kdbx", "/a/service-account.json", "/a/serviceaccount1.json",
		"/a/service_account_x.json", "/a/token", "/a/api-token.txt", "/a/\u017fecret", "/a/to\u212aen",
	} {
		if !secretNames.MatchString(path) {
			t.Errorf("%q is none of secretNames", path)
		}
		if !holdsSecret([]byte(path)) {
			t.Errorf("%q is passed over", path)
		}
	}
	for _, path := range []string{"/usr/lib/python3/module.py", "/etc/config", "/a/secret/file", "/a/id_rsa.pub", "/a/monkey", "/a/\xff", "/a/tokens.py"} {
		if holdsSecret([]byte(path)) {
			t.Errorf("%q is taken for a secret", path)
		}
	}
}

func BenchmarkHoldsSecret(b *testing.B) {
	path := []byte("/usr/lib/python3/d001/module_02_00013.py")
	b.ReportAllocs()
	for b.Loop() {
		if holdsSecret(path) {
			b.Fatal("a module is taken for a secret")
		}
	}
}
