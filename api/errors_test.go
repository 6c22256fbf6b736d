package api

import (
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/refuse"
)

// TestUnencodableAnswer: what cannot be encoded is never a success, be it a
// refusal or an answer.
func TestUnencodableAnswer(t *testing.T) {
	d := &deps{Config: Config{Log: slog.New(slog.DiscardHandler)}}
	e := echo.New()
	e.HTTPErrorHandler = d.writeError
	e.GET("/refusal", func(echo.Context) error { return refuse.With(http.StatusConflict, math.Inf(1)) })
	e.GET("/answer", func(c echo.Context) error { return writeJSON(c, http.StatusOK, math.NaN()) })
	for _, path := range []string{"/refusal", "/answer"} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusInternalServerError || w.Body.String() != "Internal Server Error" {
			t.Errorf("%s = %d %q, want 500 Internal Server Error", path, w.Code, w.Body)
		}
	}
}
