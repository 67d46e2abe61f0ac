// A web application: `/` says its version, `/healthz` whether it works.
import http from "node:http";

const version = process.env.VERSION;
const port = 3000;

const server = http.createServer((request, response) => {
  response.setHeader("content-type", "text/plain");
  response.end(request.url === "/healthz" ? "ok\n" : `version ${version}\n`);
});
server.listen(port, () => console.log(`version ${version} listens on ${port}`));

// SIGTERM: no new connections, what is under way is answered, then the end. As process 1, Node would not hear
// the signal at all without this.
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
