"""A small web server that asks itself for a few pages and ends: a program worth a profile."""

import http.server
import threading
import urllib.request


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from " + self.path.encode())

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
# No proxy from the environment: the requests are for this very process.
client = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for number in range(20):
    url = f"http://127.0.0.1:{server.server_port}/{number}"
    body = client.open(url, timeout=10).read()
    assert body == b"hello from /%d" % number, body
server.shutdown()
print("20 requests answered")
