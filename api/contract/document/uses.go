package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Uses counts the requests that a client sent by the operation that each asks,
// as match names it from the method and the decoded path. har is an HTTP
// Archive (HAR 1.2), as browsers and proxies write it.
func Uses(har []byte, match func(method, path string) string) (map[string]int, error) {
	var archive struct {
		Log struct {
			Entries []struct {
				Request struct{ Method, URL string }
			}
		}
	}
	if err := json.Unmarshal(har, &archive); err != nil {
		return nil, fmt.Errorf("is no HAR: %w", err)
	}
	if archive.Log.Entries == nil {
		return nil, errors.New("is no HAR: it has no log.entries")
	}
	uses := map[string]int{}
	for _, e := range archive.Log.Entries {
		path := ""
		if u, err := url.Parse(e.Request.URL); err == nil {
			path = u.Path
		}
		uses[match(strings.ToUpper(e.Request.Method), path)]++
	}
	return uses, nil
}
