//! The operators' page.
//!
//!     node ops.mjs spilling URL TOKEN [dark]   a region spills while it is looked at; its relay is drained, it is pinned,
//!                                              and a viewer is looked up
//!     node ops.mjs again URL                   the manager goes away and comes back; a line is printed when it may
//!     node ops.mjs size URL WIDTH [dark]       nothing reaches beyond the window, however many regions there are

import assert from "node:assert/strict";
import { story } from "./harness.mjs";

const [what, url, ...more] = process.argv.slice(2);
const options = { dark: more.includes("dark"), width: what === "size" ? Number(more[0]) : 1280 };
const theme = options.dark ? "dark" : "light";
const page = (visitor) => visitor.page;
const told = { spilling, again, size };

await story([url], options, async (visitor) => {
  await visitor.page.goto(`${url}/ops`);
  await visitor.until("window.spillwayOps?.link() === 'live'");
  return told[what](visitor);
});

async function spilling(visitor) {
  const [token] = more;
  // What there is by the time that the crowd has come.
  const of = (test) => `window.spillwayOps.overview()?.regions.some((r) => r.region === "paris" && ${test})`;
  console.log("looking");
  await visitor.until(of("r.on_relays >= 1"), 60_000);
  await visitor.until(`document.querySelector("#decisions")?.innerText.includes("launch")`);
  await visitor.until(`document.querySelector("#chart-regions canvas") && document.querySelector("#chart-nodes canvas")`);
  await visitor.accessible();
  await visitor.picture(`ops-${theme}`, { fullPage: true });

  // Signs in on the way to the region, and sees what pinning it would do before it does it.
  const panel = page(visitor).locator("#panel");
  visitor.excuse(/401/);
  await page(visitor).getByRole("button", { name: "Manage paris" }).click();
  await panel.getByLabel("Operator’s token").fill("a wrong one, but long enough");
  await panel.getByRole("button", { name: "Sign in" }).click();
  await panel.getByText("takes the operator's token").waitFor();
  await panel.getByLabel("Operator’s token").fill(token);
  await panel.getByRole("button", { name: "Sign in" }).click();
  await panel.getByLabel("Relays, no fewer and no more").fill("1");
  await panel.getByLabel("If it had so many viewers").fill("200");
  await panel.getByLabel("If it had so many viewers").blur();
  await panel.getByText(/Nothing is done yet|Nothing within the next minute/).waitFor();
  await visitor.accessible();
  await panel.getByRole("button", { name: "Pin", exact: true }).click();
  await visitor.until(of("r.pinned?.relays === 1"));
  await panel.getByRole("button", { name: "Unpin" }).click();
  await visitor.until(of("r.pinned === null"));
  await panel.getByRole("button", { name: "Close" }).click();

  // One of the relay's viewers, explained.
  const relay = await page(visitor).evaluate(
    `window.spillwayOps.overview().nodes.find((n) => n.kind === "relay" && n.region === "paris" && n.viewers > 0).node`,
  );
  await page(visitor).getByRole("button", { name: `Manage ${relay}` }).click();
  await visitor.until(`document.querySelector("#panel .viewer-list button")`);
  await panel.locator(".viewer-list button").first().click();
  await page(visitor).locator(".choices tbody tr").first().waitFor();
  await page(visitor).locator("#viewer").getByText(relay).first().waitFor();
  await visitor.accessible();
  await visitor.picture(`ops-viewer-${theme}`, { fullPage: true });

  await page(visitor).getByRole("button", { name: `Manage ${relay}` }).click();
  await panel.getByRole("button", { name: "Drain it" }).click();
  const node = (test) => `window.spillwayOps.overview()?.nodes.some((n) => n.node === ${JSON.stringify(relay)} && ${test})`;
  await visitor.until(`${node("n.closed")} || !(${node("true")})`);
  await visitor.until(`document.querySelector("#decisions").innerText.includes("the operator wants it")`);
  await panel.getByRole("button", { name: "Close" }).click();
  return { relay };
}

async function again(visitor) {
  visitor.excuse(/ERR_CONNECTION_|ERR_INCOMPLETE|ERR_EMPTY|503/);
  console.log("may go");
  await visitor.until("window.spillwayOps.link() === 'lost' && !document.querySelector('#lost').hidden");
  await visitor.accessible();
  console.log("may come");
  await visitor.until("window.spillwayOps.link() === 'live' && document.querySelector('#lost').hidden", 40_000);
  await visitor.until("!document.querySelector('#restarted').hidden");
  await visitor.until("window.spillwayOps.overview().nodes.length > 0");
}

async function size(visitor) {
  await visitor.fits();
  await page(visitor).getByText("24 hours").click();
  await visitor.page.waitForTimeout(300);
  await visitor.fits();
  await visitor.accessible();
  const regions = await page(visitor).evaluate("window.spillwayOps.overview().regions.length");
  assert.equal(await page(visitor).locator("#regions tr").count(), regions);
  await visitor.picture(`ops-${regions}-${more[0]}-${theme}`, { fullPage: true });
  return { regions };
}
