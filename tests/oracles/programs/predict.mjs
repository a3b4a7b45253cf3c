// Posts files to a URL, by fetch and by http.request; the latter in chunks.
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";

const [url, ...paths] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true });
for (const path of paths) {
  const body = readFileSync(path);
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(url, { method: "POST", body, headers });
  console.log(`${answer.status} ${await answer.text()}`);
  const [status, text] = await new Promise((resolve, reject) => {
    const call = request(url, { method: "POST", headers, agent }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => resolve([response.statusCode, Buffer.concat(parts).toString()]));
    });
    call.on("error", reject);
    call.write(body.subarray(0, 100));
    call.end(body.subarray(100));
  });
  console.log(`${status} ${text}`);
}
agent.destroy();
// Not before a pipe has taken everything.
process.stdout.write("", () => process.exit(0));
