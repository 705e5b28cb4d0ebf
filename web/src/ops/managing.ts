//! What stands in the dialog of a region, and of a node: facts, controls, and what each would do.

import { make } from "../shared/dom";
import { bitrate, count, span } from "../shared/format";
import type { Node, Overview, Region } from "./overview";
import { command, note, Preview } from "./panel";
import { describe } from "./cells";
import { pinned } from "./regions";
import { viewerList } from "./viewer";

export function regionBody(region: Region, overview: Overview, again: () => void): HTMLElement[] {
  const preview = new Preview();
  const relays = field("Relays, no fewer and no more", "number", region.pinned?.relays?.toString() ?? "", "as needed");
  relays.input.min = "0";
  relays.input.max = "1000";
  const node = make("select");
  node.append(new Option("as usual", ""), ...overview.nodes.map((n) => new Option(n.node, n.node)));
  node.value = region.pinned?.node ?? "";
  const nodeLabel = make("label", "", "Joins go to");
  nodeLabel.append(node);
  const viewers = field("If it had so many viewers", "number", "", count(region.viewers));
  viewers.input.min = "0";
  viewers.input.max = "1000000";
  const wanted = () => {
    const pin = {
      ...(relays.input.value === "" ? {} : { relays: Number(relays.input.value) }),
      ...(node.value === "" ? {} : { node: node.value }),
    };
    return Object.keys(pin).length === 0 ? null : { pin: { region: region.region, pin } };
  };
  const ask = () => {
    const [override, many] = [wanted(), viewers.input.value];
    if (!override && many === "") return preview.clear("Pin it, or suppose another number of viewers, to see what the manager would do.");
    preview.ask({
      ...(override ? { overrides: [override] } : {}),
      ...(many === "" ? {} : { viewers: { [region.region]: Number(many) } }),
    });
  };
  for (const input of [relays.input, node, viewers.input]) input.addEventListener("change", ask);
  ask();
  const facts = describe([
    ["Viewers", `${count(region.viewers)} (${count(region.on_primary)} on the primary, ${count(region.on_relays)} on relays)`],
    ["Threshold", count(region.threshold)],
    ["Relays", count(region.relays)],
    ["Egress", bitrate(region.egress_bps)],
    ["Rising by", region.rise > 0 ? `${region.rise.toFixed(1)} viewers a second` : "nothing that is certain"],
    ["Held", region.pinned ? pinned(region.pinned) : "no"],
  ]);
  const bar = make("div", "commands");
  bar.append(command("Pin", "main", wanted, again));
  if (region.pinned) bar.append(command("Unpin", "quiet", () => ({ unpin: { region: region.region } }), again));
  const pins = group("Pin", [relays.label, nodeLabel]);
  return [facts, pins, group("Suppose", [viewers.label]), preview.element, bar];
}

export function nodeBody(node: Node, again: () => void, look: (viewer: string) => void): HTMLElement[] {
  const facts = describe([
    ["Reached at", node.url || "not heard yet"],
    ["State", node.state + (node.trouble ? `: ${node.trouble}` : "")],
    ["Region", node.region ?? "–"],
    ["Viewers", Object.entries(node.streams).map(([stream, n]) => `${stream} ${count(n)}`).join(", ") || count(node.viewers)],
    ["Egress", bitrate(node.egress_bps) + (node.budget_bps ? ` of ${bitrate(node.budget_bps)}` : ", without a budget")],
    ["Up", span(node.uptime_s)],
    ["Version", node.software || "–"],
  ]);
  const weight = field("Weight beside others of its region; 0 is nobody new", "number", String(node.weight), "1");
  weight.input.min = "0";
  weight.input.max = "1000";
  weight.input.step = "any";
  const weigh = () => (weight.input.value === "" ? null : { weigh: { node: node.node, weight: Number(weight.input.value) } });
  const weighing = group("Weight", [weight.label, command("Set weight", "quiet", weigh, again)]);
  const body = [facts];
  if (node.kind === "primary") {
    body.push(note("Everything comes from the primary: it is never drained."));
  } else {
    const preview = new Preview();
    const override = node.closed ? { undrain: { node: node.node } } : { drain: { node: node.node } };
    preview.ask({ overrides: [override] });
    const bar = make("div", "commands");
    bar.append(command(node.closed ? "Use it again" : "Drain it", "main", () => override, again));
    body.push(
      note(node.closed ? "You wanted it drained; it takes nobody new." : "It takes nobody new, and its viewers are sent elsewhere once there is room for them."),
      preview.element,
      bar,
      weighing,
    );
  }
  if (node.viewers > 0) body.push(viewerList(node.node, look));
  return body;
}

function field(text: string, type: string, value: string, placeholder: string) {
  const label = make("label", "", text);
  const input = make("input");
  input.type = type;
  input.value = value;
  input.placeholder = placeholder;
  label.append(input);
  return { label, input };
}

function group(title: string, content: HTMLElement[]): HTMLElement {
  const made = make("fieldset");
  made.append(make("legend", "", title), ...content);
  return made;
}
