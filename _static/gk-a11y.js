// Gaps of sphinx-book-theme 1.3.0 and Sphinx 7.4 that axe finds, closed after the page has loaded.
document.addEventListener("DOMContentLoaded", () => {
  // The arrows that unfold a part in the sidebar have no name.
  for (const summary of document.querySelectorAll(".bd-sidebar-primary details > summary")) {
    const link = summary.closest("li")?.querySelector("a");
    summary.setAttribute("aria-label", `Pages of ${link ? link.textContent.trim() : "this part"}`);
  }
  // The role that Sphinx gives bibliography entries is deprecated, and no child of a list.
  for (const entry of document.querySelectorAll('[role="doc-biblioentry"]')) entry.setAttribute("role", "listitem");
});
// Search summaries are fetched page by page, which a browser refuses for pages opened from disk.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// The theme makes what scrolls reachable by keyboard once, when a page loads. A phone can be turned.
window.addEventListener("resize", () => {
  for (const box of document.querySelectorAll("article pre, .pst-scrollable-table-container")) {
    box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1;
  }
});
