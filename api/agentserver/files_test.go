package agentserver_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFiles: the files of a conversation are those below its working_dir, in the
// workspace's folder and nowhere else.
func TestFiles(t *testing.T) {
	s := serve(t, "", nil)
	id := s.create("")
	dir := filepath.Join(s.folder, id)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	const inside = `{"detail":"path must be inside the conversation workspace"}`
	upload := func(path, content string) (int, string) {
		return s.send("POST", "/api/conversations/"+id+"/file/upload?path="+path, "multipart/form-data; boundary=x",
			"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"+content+"\r\n--x--\r\n")
	}
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/w/a.txt", 200, `{"success":true,"file_size":5}`},
		{"/w/d/../b.txt", 200, `{"success":true,"file_size":5}`},
		{"/w/new/deep/b.txt", 200, `{"success":true,"file_size":5}`},
		{"/w/new", 400, `{"detail":"Path is a directory"}`},
		{"/w", 400, `{"detail":"Path is a directory"}`},
		{"/w/a.txt/b.txt", 400, `{"detail":"A parent of the path is not a directory"}`},
		{"a.txt", 422, inside},
		{"/w/../x", 422, inside},
		{"/wx/a.txt", 422, inside},
		{outside + "/new", 422, inside},
		{"/workspace/a.txt", 422, inside},
	} {
		if status, text := upload(c.path, "hello"); status != c.status || text != c.want {
			t.Errorf("upload of %s: %d %s, want %d %s", c.path, status, text, c.status, c.want)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "git", "-C", dir, "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if status, text := upload("/w/link/new", "x"); status != 422 || text != inside {
		t.Errorf("upload through a link that leads out: %d %s", status, text)
	}
	for _, c := range []struct {
		method, op string
		status     int
		want       string
	}{
		{"GET", "file/download?path=/w/a.txt", 200, "hello"},
		{"GET", "file/download?path=/w/new", 400, `{"detail":"Path is not a file"}`},
		{"GET", "file/download?path=/w/nothing", 404, `{"detail":"File not found"}`},
		{"GET", "file/download?path=/w/a%00b", 400, ""},
		{"GET", "file/download?path=" + outside + "/secret", 422, inside},
		{"GET", "file/download?path=/w/../../etc/passwd", 422, inside},
		{"GET", "file/download?path=/w/link/secret", 422, inside},
		{"POST", "file/create_directory?path=/w/sub", 200, `{"success":true}`},
		{"POST", "file/create_directory?path=/w/sub", 200, `{"success":true}`},
		{"POST", "file/create_directory?path=/w/a.txt", 400, `{"detail":"A parent of the path is not a directory"}`},
		{"POST", "file/create_directory?path=/w/a.txt/sub", 400, `{"detail":"A parent of the path is not a directory"}`},
		{"POST", "file/create_directory?path=/w/../sub", 422, inside},
		{"POST", "file/create_directory?path=/w/link/sub", 422, inside},
		{"GET", "git/changes?path=/w/new", 200, `[{"status":"ADDED","path":"deep/b.txt"}]`},
		{"GET", "git/changes?path=/w/nothing", 200, `[]`},
		{"GET", "git/changes?path=/etc", 422, inside},
		{"GET", "git/changes?path=/w&ref=HEAD", 501, ""},
		{"GET", "git/diff?path=/w/a.txt", 200, `{"modified":"hello","original":""}`},
		{"GET", "git/diff?path=/w/nothing", 400, `{"detail":"File does not exist: /w/nothing"}`},
		{"GET", "git/diff?path=/w/link/secret", 422, inside},
		{"GET", "git/diff?path=/w/a.txt&commit=abcd", 501, ""},
	} {
		if status, text := s.do(c.method, "/api/conversations/"+id+"/"+c.op, ""); status != c.status || c.want != "" && text != c.want {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.op, status, text, c.status, c.want)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 1 {
		t.Errorf("outside the workspace are %v %v, want the one file", left, err)
	}
	const none = "00000000-0000-4000-8000-000000000000"
	if status, text := s.do("GET", "/api/conversations/"+none+"/git/changes?path=/w", ""); status != http.StatusNotFound || !strings.Contains(text, "Conversation not found: "+none) {
		t.Errorf("an unknown conversation: %d %s", status, text)
	}
}
