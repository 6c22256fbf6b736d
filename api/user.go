package api

import (
	"fmt"
	"github.com/openhands-local/openhands-local/api/refuse"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/gen"
)

// user has the operations that ask a git provider. No provider is ever
// asked: they are answered as without a token (recorded user_no_tokens,
// user_no_settings).
type user struct{ *deps }

var (
	errNoProvider  = refuse.With(http.StatusUnauthorized, "Git provider token required. (such as GitHub).")
	errNoSearch    = refuse.With(http.StatusUnauthorized, "Git provider token required.")
	errNoProviders = refuse.With(http.StatusUnauthorized, "No providers set.")
)

// GetUser is the provider's user.
func (o *user) GetUser(echo.Context) error { return errNoProvider }

// GetUserInstallations are the provider's installations.
func (o *user) GetUserInstallations(echo.Context, gen.GetUserInstallationsParams) error {
	return errNoProvider
}

// GetUserRepositories are the user's repositories.
func (o *user) GetUserRepositories(echo.Context, gen.GetUserRepositoriesParams) error {
	return errNoProvider
}

// GetRepositoryBranches are the branches of a repository.
func (o *user) GetRepositoryBranches(echo.Context, gen.GetRepositoryBranchesParams) error {
	return errNoProvider
}

// SearchRepositories looks for repositories.
func (o *user) SearchRepositories(echo.Context, gen.SearchRepositoriesParams) error {
	return errNoSearch
}

// GetSuggestedTasks are things to do in the user's repositories.
func (o *user) GetSuggestedTasks(echo.Context) error { return errNoProviders }

// GetRepositoryMicroagents are a repository's microagents: none.
func (o *user) GetRepositoryMicroagents(c echo.Context, _ string) error {
	return writeBytes(c, http.StatusOK, []byte("[]"))
}

// GetRepositoryMicroagentContent is the text of one.
func (o *user) GetRepositoryMicroagentContent(_ echo.Context, repository string, q gen.GetRepositoryMicroagentContentParams) error {
	return refuse.With(http.StatusUnauthorized, fmt.Sprintf("Microagent file %s not found in %s", q.FilePath, repository))
}
