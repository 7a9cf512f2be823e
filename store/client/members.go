package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/assay-chaos/assay/store/httpapi"
)

// Members asks the node who belongs to the cluster, as far as it knows.
func (c *Client) Members(ctx context.Context) (httpapi.Members, error) {
	var m httpapi.Members
	a, err := c.do(ctx, "members", http.MethodGet, httpapi.PathMembers, "", nil)
	if err != nil {
		return m, asRead(err)
	}
	if err := json.Unmarshal(a.body, &m); err != nil {
		return m, c.failed("members", "", true, fmt.Errorf("answer: %w", err))
	}
	return m, nil
}

// Change adds nodes to the cluster and removes others. It returns when the change
// is certain to come; Members tells when it is through. To ask again for a change
// that has come does nothing.
func (c *Client) Change(ctx context.Context, change httpapi.Change) error {
	body, err := json.Marshal(change)
	if err != nil {
		return c.failed("change members", "", true, err)
	}
	_, err = c.do(ctx, "change members", http.MethodPost, httpapi.PathMembers, "", body)
	return err
}
