package render

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser starts a Chromium for a test; where there is none the test is left
// out.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium: the HTML report is not looked at in a browser")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(t.TempDir()))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 5*time.Minute) // a hang guard
	t.Cleanup(stop)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Skipf("Chromium does not start here: %v", err)
	}
	return ctx
}

// see evaluates an expression in the page.
func see[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return got
}

// Every page opens from disk without an error on the console, asks for nothing
// but itself, fits a phone and a desktop, and shows hostile names as text.
func TestPagesInChromium(t *testing.T) {
	ctx := browser(t)
	var lock sync.Mutex
	var troubles []string
	page := ""
	err := chromedp.Listen(ctx, func(ev any) {
		lock.Lock()
		defer lock.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventConsoleAPICalled:
			troubles = append(troubles, fmt.Sprintf("console: %s", ev.Type))
		case *runtime.EventExceptionThrown:
			troubles = append(troubles, "exception: "+ev.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			troubles = append(troubles, "log: "+ev.Entry.Text)
		case *network.EventRequestWillBeSent:
			if ev.Request.URL != page {
				troubles = append(troubles, "request: "+ev.Request.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range reports() {
		for _, o := range []Options{{}, {All: true}, {ASCII: true}} {
			path := filepath.Join(t.TempDir(), "report.html")
			octets := written(t, func(b *bytes.Buffer) error { return HTML(b, r, o) })
			if err := os.WriteFile(path, octets, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, width := range []int64{390, 1280} {
				lock.Lock()
				page, troubles = (&url.URL{Scheme: "file", Path: path}).String(), nil
				lock.Unlock()
				if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 800), chromedp.Navigate(page)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if wide, inner := see[int](t, ctx, "document.scrollingElement.scrollWidth"), see[int](t, ctx, "window.innerWidth"); wide > inner {
					t.Errorf("%s: %d pixels wide on a page of %d: %s", name, wide, inner, see[string](t, ctx, "Array.from(document.querySelectorAll('body *')).filter(e => e.getBoundingClientRect().right > innerWidth && !e.closest('.drawing')).map(e => e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 40)).slice(-3).join()"))
				}
				if text := see[string](t, ctx, "document.body.innerText"); len(strings.TrimSpace(text)) < 20 {
					t.Errorf("%s at %d: the page reads %q", name, width, text)
				}
				if see[int](t, ctx, "document.scripts.length") != strings.Count(string(octets), "<script>") {
					t.Errorf("%s: a script that the report did not write", name)
				}
				lock.Lock()
				if len(troubles) > 0 {
					t.Errorf("%s at %d: %v", name, width, troubles)
				}
				lock.Unlock()
			}
		}
	}
}

// The table of connections can be filtered and sorted.
func TestTableInChromium(t *testing.T) {
	ctx := browser(t)
	r := reports()["many-flows"]
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, written(t, func(b *bytes.Buffer) error { return HTML(b, r, Options{}) }), 0o600); err != nil {
		t.Fatal(err)
	}
	column := func(n int) string {
		return fmt.Sprintf("Array.from(document.querySelectorAll('table.index tbody tr')).filter(r => !r.hidden).map(r => r.cells[%d].textContent)", n)
	}
	step := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatal(err)
		}
	}
	step(chromedp.Navigate((&url.URL{Scheme: "file", Path: path}).String()))
	if html := see[string](t, ctx, "document.querySelector('.filter')?.outerHTML ?? ''"); !strings.Contains(html, "<input") {
		t.Fatalf("no filter: %q", html)
	}
	all := see[[]string](t, ctx, column(0))
	step(chromedp.SendKeys(chromedp.CSS(".filter input"), "healthy"))
	healthy, verdicts, left := see[[]string](t, ctx, column(0)), see[[]string](t, ctx, column(1)), see[string](t, ctx, "document.querySelector('.filter output').textContent")
	if len(healthy) == 0 || len(healthy) >= len(all) || left != fmt.Sprintf("%d of %d", len(healthy), len(all)) {
		t.Errorf("%d of %d rows are left, the page says %q", len(healthy), len(all), left)
	}
	for _, v := range verdicts {
		if !strings.Contains(v, "healthy") {
			t.Errorf("a row says %q", v)
		}
	}
	see[string](t, ctx, "(i => { i.value = ''; i.dispatchEvent(new Event('input')); return '' })(document.querySelector('.filter input'))")
	step(chromedp.Click(chromedp.CSS("table.index th:nth-child(1) button")))
	up := see[[]string](t, ctx, column(0))
	step(chromedp.Click(chromedp.CSS("table.index th:nth-child(1) button")))
	down := see[[]string](t, ctx, column(0))
	numbers := func(list []string) (out []int) {
		for _, s := range list {
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, n)
		}
		return out
	}
	if !slices.IsSorted(numbers(up)) || len(up) != len(all) {
		t.Errorf("not sorted: %v", up)
	}
	slices.Reverse(down)
	if !slices.Equal(up, down) {
		t.Errorf("not the other way round: %v", down)
	}
}
