package serve

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// browser starts a headless Chromium, and tells what its console says.
func browser(t *testing.T) (ctx context.Context, console func() []string) {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		const remedy = "no Chromium to look at the pages with: apt-get install chromium"
		if os.Getenv("CI") != "" {
			t.Fatal(remedy)
		}
		t.Skip(remedy)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1300, 900), chromedp.WSURLReadTimeout(time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var said []string
	chromedp.ListenTarget(ctx, func(e any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventConsoleAPICalled:
			said = append(said, fmt.Sprint(e.Type, e.Args))
		case *runtime.EventExceptionThrown:
			said = append(said, e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			if !strings.Contains(e.Entry.URL, "favicon") {
				said = append(said, e.Entry.Text+" "+e.Entry.URL)
			}
		}
	})
	require.NoError(t, chromedp.Run(ctx, log.Enable()))
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return said
	}
}

// A browser shows the pages as they are meant, without a word on its console.
func TestBrowser(t *testing.T) {
	web := start(t, folder(t))
	ctx, console := browser(t)
	run := func(actions ...chromedp.Action) {
		t.Helper()
		require.NoError(t, chromedp.Run(ctx, actions...))
	}
	var title, text string
	var n int
	run(chromedp.Navigate(web.URL+"/"),
		chromedp.Text("h1", &title),
		chromedp.Evaluate(`document.querySelectorAll("tbody tr").length`, &n))
	require.Equal(t, "Runs", title)
	require.Equal(t, 2, n)
	run(chromedp.SetValue(`select[name=verdict]`, "broken"), chromedp.Click("form button"), chromedp.WaitReady("option[selected]"), // in the page that answers
		chromedp.Evaluate(`document.querySelectorAll("tbody tr").length`, &n))
	require.Equal(t, 1, n, "the filter")
	run(chromedp.Click("tbody a"), chromedp.WaitVisible("#explore-view svg"), chromedp.Text("h1", &title))
	require.Contains(t, title, "majority-lww")

	var height float64
	for _, id := range []string{"claims", "violation-1", "overview", "explore", "divergence", "faults", "phases", "replicas", "test", "files"} {
		run(chromedp.Evaluate(fmt.Sprintf(`document.getElementById(%q)?.getBoundingClientRect().height ?? 0`, id), &height))
		require.Positive(t, height, id)
	}
	run(chromedp.Evaluate(`document.querySelectorAll("svg.spacetime .t-arrow").length`, &n))
	require.Greater(t, n, 5, "arrows of the space-time diagram")
	run(chromedp.Evaluate(`[...document.querySelectorAll("svg.picture")].filter(s => !s.getAttribute("aria-label") && !s.querySelector("desc")).length`, &n))
	require.Zero(t, n, "pictures without words")

	// Closer until single operations are there, by link and by keys, then back.
	caption := func() string {
		run(chromedp.Text("#explore-view figcaption", &text))
		return text
	}
	require.Contains(t, caption(), "darker where there were more")
	changed := func(action chromedp.Action) {
		t.Helper()
		before := caption()
		run(action, chromedp.Poll(fmt.Sprintf(`document.querySelector("#explore-view figcaption").textContent !== %q`, before), nil))
	}
	changed(chromedp.Click(`a[data-go=in]`))
	run(chromedp.Focus("#explore-view"))
	for strings.Contains(caption(), "darker") {
		changed(chromedp.KeyEvent("+"))
	}
	run(chromedp.Evaluate(`document.querySelectorAll("#explore-view rect.bar").length`, &n))
	require.Greater(t, n, 20, "bars of single operations")
	changed(chromedp.KeyEvent(kb.ArrowRight))
	var at string
	run(chromedp.Location(&at))
	u, err := url.Parse(at)
	require.NoError(t, err)
	require.NotEmpty(t, u.Query().Get("from"), "the place is in the address")
	window := caption()
	run(chromedp.Navigate(at), chromedp.WaitVisible("#explore-view svg"))
	require.Equal(t, window, caption(), "and leads there again")
	run(chromedp.Focus("#explore-view"))
	changed(chromedp.KeyEvent("0"))

	// Dark and light differ, and neither is unreadable.
	colors := func(scheme string) (ink, paper string) {
		run(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
			chromedp.Evaluate(`getComputedStyle(document.body).color`, &ink), chromedp.Evaluate(`getComputedStyle(document.body).backgroundColor`, &paper))
		require.NotEqual(t, ink, paper)
		return ink, paper
	}
	ink, paper := colors("light")
	darkInk, darkPaper := colors("dark")
	require.NotEqual(t, ink, darkInk)
	require.NotEqual(t, paper, darkPaper)

	// Nothing is wider than a laptop's window, but what scrolls by itself.
	run(chromedp.Evaluate(`document.documentElement.scrollWidth - document.documentElement.clientWidth`, &n))
	require.LessOrEqual(t, n, 0)

	run(chromedp.Navigate(web.URL+"/file/reference/matrix.html"), chromedp.Text("h1", &title))
	require.Equal(t, "a matrix", title)
	require.Empty(t, console())
}
