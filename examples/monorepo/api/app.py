"""A web application: `/` says its version, `/healthz` whether it works."""

import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ["VERSION"]
PORT = 3000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"ok\n" if self.path == "/healthz" else f"version {VERSION}\n".encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = False  # so that `server_close` waits for the requests under way


server = Server(("", PORT), Handler)
# SIGTERM: no new connections, what is under way is answered, then the end. As process 1, Python would not hear
# the signal at all without this. In a thread, because `shutdown` waits for `serve_forever`.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"version {VERSION} listens on {PORT}")
server.serve_forever()
server.server_close()
