"""A page in the browser."""


class Tab:
    """A page, and all errors and warnings that it logged."""

    def __init__(self, page, server):
        self.page, self.server = page, server
        self.complaints, self.elsewhere = [], []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._remember)

    def _remember(self, request):
        if not request.url.startswith((self.server, "data:")):
            self.elsewhere.append(request.url)

    def open(self, path):
        self.page.goto(self.server + path)
        return self.page

    @property
    def background(self):
        return self.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    @property
    def overflow(self):
        """The number of pixels by which the page is wider than its window."""
        return self.page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth")
