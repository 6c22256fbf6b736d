package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestMicroagents(t *testing.T) {
	w, dir := open(t)
	for _, test := range []struct {
		files map[string]string
		want  string
	}{
		{nil, `[]`}, // sub_microagents: the body has 18 bytes
		{map[string]string{".openhands/microagents": "a file"}, `[]`},
		{map[string]string{".openhands_instructions": "---\nname: x\r\n---\nAll.\n"},
			`[{"name":"repo_legacy","type":"repo","content":"---\nname: x\n---\nAll.\n","triggers":[],"inputs":[],"tools":[]}]`},
		{map[string]string{".openhands/microagents/repo.md": "\n Be kind.\n\n"},
			`[{"name":"repo","type":"repo","content":"Be kind.","triggers":[],"inputs":[],"tools":[]}]`},
		{map[string]string{".openhands/microagents/repo.md": "---\r\nname: other\r\ntype: knowledge\r\n---\r\nBe\r\nkind.\r\n---\r\nAnd more."},
			`[{"name":"repo","type":"repo","content":"Be\nkind.\n---\nAnd more.","triggers":[],"inputs":[],"tools":[]}]`},
		{map[string]string{
			".openhands/microagents/b/git.md": "---\ntriggers: [git, commit]\nmcp_tools:\n  stdio_servers:\n  - {name: fetch, command: x}\n---\nGit.", ".openhands/microagents/repo.md": "R",
			".openhands/microagents/README.md": "no", ".openhands/microagents/b/README.md": "no", ".openhands/microagents/a.txt": "no", ".openhands/microagents/d.md/": "",
			".openhands/microagents/link.md": "->b/git.md",
		},
			`[{"name":"repo","type":"repo","content":"R","triggers":[],"inputs":[],"tools":[]},` +
				`{"name":"b/git","type":"knowledge","content":"Git.","triggers":["git","commit"],"inputs":[],"tools":["fetch"]},` +
				`{"name":"link","type":"knowledge","content":"Git.","triggers":["git","commit"],"inputs":[],"tools":["fetch"]}]`},
		{map[string]string{
			".openhands/microagents/task.md":  "---\nname: fix\ntype: task\ninputs:\n- name: N\n  description: which\n---\nFix ${N}.",
			".openhands/microagents/task2.md": "---\nname: fix\ntriggers: [/fix]\ninputs:\n- name: N\n---\nFix.",
		},
			`[{"name":"task","type":"knowledge","content":"Fix ${N}.","triggers":["/fix"],"inputs":[{"name":"N","description":"which"}],"tools":[]},` +
				`{"name":"task2","type":"knowledge","content":"Fix.","triggers":["/fix"],"inputs":[{"name":"N","description":""}],"tools":[]}]`},
		{map[string]string{ // left out
			".openhands/microagents/yaml.md":  "---\ntriggers: [\n---\nx",
			".openhands/microagents/type.md":  "---\ntype: other\n---\nx",
			".openhands/microagents/list.md":  "---\n- a\n---\nx",
			".openhands/microagents/tools.md": "---\nmcp_tools: {sse_servers: [{url: x}]}\n---\nx",
			".openhands/microagents/large.md": strings.Repeat("x", maxDiff+1),
			".openhands/microagents/bomb.md":  "---\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\ntriggers: [*e]\n---\nx",
		}, `[]`},
	} {
		r := &testRepository{t: t, dir: dir}
		r.remove(".openhands", ".openhands_instructions")
		put(t, dir, test.files)
		agents, err := w.Microagents(t.Context())
		if err != nil {
			t.Errorf("Microagents = %v", err)
		}
		if got, err := json.Marshal(agents); string(got) != test.want || err != nil {
			t.Errorf("Microagents = %s, %v\nwant %s", got, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := w.Microagents(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Microagents after the end = %v, %v, want %v", got, err, context.Canceled)
	}
}
