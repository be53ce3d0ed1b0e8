#include "sim/diagram.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "sim/fault_name.h"

namespace aios::sim {

namespace {

using Json = nlohmann::ordered_json;

// The page draws itself from the data that takes the place of DATA.
constexpr char kPage[] = R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>TITLE</title>
<style>
  body { margin: 0; font: 13px/1.4 system-ui, sans-serif; color: #1b1f24; background: #fff; }
  header { position: sticky; top: 0; z-index: 1; background: #fffffff2; border-bottom: 1px solid #d0d7de; padding: 8px 16px 0; }
  h1 { font-size: 15px; margin: 0 0 4px; }
  label { margin-right: 14px; white-space: nowrap; }
  .key { color: #57606a; }
  .key b { display: inline-block; width: 10px; height: 10px; margin: 0 4px 0 10px; border-radius: 2px; }
  svg text { font: 11px system-ui, sans-serif; }
  svg .host { font-weight: 600; font-size: 13px; }
  svg .time { fill: #57606a; font-variant-numeric: tabular-nums; }
  svg .small { font-size: 10px; fill: #57606a; }
</style>
</head>
<body>
<header>
  <h1>TITLE</h1>
  <div>
    <label><input type="checkbox" id="packets" checked> packets</label>
    <label><input type="checkbox" id="acks"> bare acknowledgements</label>
    <label><input type="checkbox" id="operations" checked> operations</label>
    <label><input type="checkbox" id="queue" checked> output queue</label>
    <label>row height <input type="range" id="height" min="6" max="40" value="18"></label>
    <span class="key" id="key"></span>
  </div>
  <svg id="heads" height="24"></svg>
</header>
<svg id="picture"></svg>
<script>
const data = DATA;
const colors = {ok: '#2da44e', eof: '#0969da', timeout: '#bf8700', aborted: '#8250df', error: '#cf222e', closed: '#8c959f', 'in progress': '#8c959f'};
const svgNamespace = 'http://www.w3.org/2000/svg';
function add(parent, name, attributes, text) {
  const element = document.createElementNS(svgNamespace, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
  return element;
}
function tip(element, text) { add(element, 'title', {}, text); return element; }
// Times are nanoseconds as text: more digits than a number can hold.
function seconds(time) {
  const padded = time.padStart(10, '0');
  return padded.slice(0, -9) + '.' + padded.slice(-9, -6) + ' ' + padded.slice(-6, -3) + ' ' + padded.slice(-3);
}
function shown(id) { return document.getElementById(id).checked; }
function draw() {
  const packets = shown('packets') ? data.packets.filter(p => shown('acks') || !p.bare) : [];
  const operations = shown('operations') ? data.operations : [];
  const moments = new Set();
  for (const p of packets) { moments.add(p.sent); if (p.ended) moments.add(p.ended); }
  for (const o of operations) { moments.add(o.start); if (o.end) moments.add(o.end); }
  for (const m of data.marks) moments.add(m.time);
  const times = [...moments].sort((a, b) => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0));
  const step = Number(document.getElementById('height').value);
  const row = new Map(times.map((time, i) => [time, 14 + i * step]));
  const bottom = 14 + times.length * step;
  const y = time => time ? row.get(time) : bottom;
  // Bars of operations that overlap get lanes beside the host's line.
  const lanes = data.hosts.map(() => []);
  for (const o of operations) {
    const used = lanes[o.host];
    let lane = 0;
    while (used[lane] !== undefined && used[lane] > y(o.start)) ++lane;
    used[lane] = y(o.end);
    o.lane = lane;
  }
  const left = 130, gap = 200, laneWidth = 14;
  const at = [];
  let x = left;
  data.hosts.forEach((name, i) => { x += 40; at.push(x); x += lanes[i].length * laneWidth + gap; });
  const width = Math.max(x, 400);
  const heads = document.getElementById('heads'), picture = document.getElementById('picture');
  heads.replaceChildren();
  picture.replaceChildren();
  heads.setAttribute('width', width);
  picture.setAttribute('width', width);
  picture.setAttribute('height', bottom + 30);
  data.hosts.forEach((name, i) => {
    add(heads, 'text', {x: at[i], y: 16, 'text-anchor': 'middle', class: 'host'}, name);
    add(picture, 'line', {x1: at[i], y1: 0, x2: at[i], y2: bottom + 10, stroke: '#afb8c1'});
  });
  let labelled = -100;
  for (const time of times) {
    if (y(time) - labelled < 14) continue;
    labelled = y(time);
    add(picture, 'text', {x: 8, y: y(time) + 4, class: 'time'}, seconds(time));
    add(picture, 'line', {x1: 122, y1: y(time), x2: width, y2: y(time), stroke: '#f0f2f5'});
  }
  for (const o of operations) {
    const status = !o.end ? 'in progress' : o.how === 'silent' ? 'closed' : o.status;
    const top = y(o.start), height = Math.max(y(o.end) - top, 4);
    const bar = add(picture, 'rect', {x: at[o.host] + 6 + o.lane * laneWidth, y: top, width: laneWidth - 4, height, rx: 3, fill: colors[status], 'fill-opacity': 0.75});
    const text = `${o.kind}, state ${o.state}: ${status}, ${o.count} bytes\n${seconds(o.start)} to ${o.end ? seconds(o.end) : 'the end'}`;
    tip(bar, text);
    if (height >= 12 && step >= 12) {
      const label = add(picture, 'text', {x: at[o.host] + 10 + lanes[o.host].length * laneWidth, y: y(o.end) - 2, class: 'small'}, `${o.kind} ${status} ${o.count}`);
      tip(label, text);
    }
  }
  if (shown('queue')) {
    // How many output operations are in progress or waiting, on the other side of the line.
    data.hosts.forEach((name, i) => {
      const changes = [];
      for (const o of data.operations) {
        if (o.host !== i || !o.output || !row.has(o.start)) continue;
        changes.push([y(o.start), 1]);
        changes.push([row.has(o.end) ? y(o.end) : bottom, -1]);
      }
      changes.sort((a, b) => a[0] - b[0]);
      let depth = 0, since = 0;
      changes.forEach(([place, change]) => {
        if (depth > 0 && place > since) {
          tip(add(picture, 'rect', {x: at[i] - 4 - Math.min(depth, 16) * 2, y: since, width: Math.min(depth, 16) * 2, height: place - since, fill: '#54aeff', 'fill-opacity': 0.5}), `${depth} output operations`);
        }
        depth += change;
        since = place;
      });
    });
  }
  // Packets that leave together have one label.
  const groups = new Map();
  for (const p of packets) {
    const key = `${p.from} ${p.to} ${p.sent} ${p.dropped}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(p);
  }
  const labels = new Map();
  for (const group of groups.values()) {
    const bytes = group.reduce((sum, p) => sum + p.bytes, 0);
    labels.set(group[0], group.length === 1 ? group[0].label : `${group.length} packets, ${bytes} B`);
  }
  for (const p of packets) {
    const from = at[p.from], to = p.to < at.length ? at[p.to] : from + 80;
    const top = y(p.sent), end = p.ended ? y(p.ended) : bottom;
    const color = p.dropped ? '#cf222e' : p.udp ? '#8250df' : p.bare ? '#afb8c1' : '#24292f';
    // One to oneself bends out and back.
    const loop = p.from === p.to;
    const stop = p.dropped ? from + (to - from) * 0.6 : to;
    const line = loop
      ? add(picture, 'path', {d: `M ${from} ${top} C ${from - 40} ${top}, ${from - 40} ${end}, ${from} ${end}`, fill: 'none', stroke: color})
      : add(picture, 'line', {x1: from, y1: top, x2: stop, y2: end, stroke: color});
    tip(line, `${p.text}\nsent ${seconds(p.sent)}${p.ended ? (p.dropped ? ', dropped ' : ', arrived ') + seconds(p.ended) : ''}${p.dropped ? '\n' + p.fault : ''}`);
    if (p.dropped && !loop) {
      add(picture, 'path', {d: `M ${stop - 4} ${end - 4} l 8 8 m 0 -8 l -8 8`, stroke: color, 'stroke-width': 2});
    } else if (!loop) {
      const side = to > from ? -1 : 1;
      add(picture, 'path', {d: `M ${to} ${end} l ${side * 7} -3 l 0 6 z`, fill: color});
    }
    if (labels.has(p) && step >= 12 && !loop) {
      add(picture, 'text', {x: from + (to > from ? 1 : -1) * 60, y: top + (end - top) * 0.2 - 3, 'text-anchor': to > from ? 'start' : 'end', class: 'small'}, labels.get(p) + (p.dropped ? ' ' + p.fault : ''));
    }
  }
  for (const m of data.marks) {
    add(picture, 'text', {x: at[m.host] - 8, y: y(m.time) + 4, 'text-anchor': 'end', fill: '#bc4c00'}, m.text);
    add(picture, 'circle', {cx: at[m.host], cy: y(m.time), r: 4, fill: '#bc4c00'});
  }
}
document.getElementById('key').innerHTML = Object.keys(colors).filter(k => k !== 'in progress').map(k => `<b style="background:${colors[k]}"></b>${k}`).join('') + '<b style="background:#54aeff"></b>queue';
for (const input of document.querySelectorAll('input')) input.addEventListener('input', draw);
draw();
</script>
</body>
</html>
)html";

std::string Escape(std::string_view text) {
  return absl::StrReplaceAll(
      std::string(text),
      {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

Json Time(Nanoseconds time) {
  return time == kForever ? Json(nullptr) : Json(absl::StrCat(time));
}

std::string Label(const Packet& packet) {
  if (packet.protocol == Packet::Protocol::kUnreachable) return "unreachable";
  std::string label;
  if ((packet.flags & Packet::kSyn) != 0) {
    label += (packet.flags & Packet::kAck) != 0 ? "SYN ACK " : "SYN ";
  }
  if ((packet.flags & Packet::kFin) != 0) label += "FIN ";
  if ((packet.flags & Packet::kRst) != 0) label += "RST ";
  if (packet.payload.empty() && packet.protocol == Packet::Protocol::kTcp) {
    return label.empty() ? "ACK" : label;
  }
  return absl::StrCat(label, packet.payload.size(), " B");
}

}  // namespace

std::string ToDiagram(const Recording& recording, std::string_view title) {
  Json data;
  data["hosts"] = recording.hosts();
  Json packets = Json::array();
  for (const RecordedPacket& recorded : recording.packets()) {
    const Packet& packet = recorded.packet;
    bool tcp = packet.protocol == Packet::Protocol::kTcp;
    packets.push_back(
        {{"from", packet.from},
         {"to", packet.to},
         {"sent", Time(recorded.sent)},
         {"ended", Time(recorded.ended)},
         {"dropped", recorded.dropped},
         {"fault", recorded.fault == Fault::kCount
                       ? "nobody has this address"
                       : std::string(FaultName(recorded.fault))},
         {"udp", !tcp},
         {"bare",
          tcp && packet.payload.empty() && packet.flags == Packet::kAck},
         {"bytes", packet.payload.size()},
         {"label", Label(packet)},
         {"text",
          absl::StrCat(Label(packet), "  ", packet.source.ToString(), " to ",
                       packet.target.ToString(),
                       tcp ? absl::StrCat(", sequence ", packet.sequence,
                                          ", window ", packet.window)
                           : std::string())}});
  }
  data["packets"] = std::move(packets);
  Json operations = Json::array();
  for (const RecordedOperation& operation : recording.operations()) {
    operations.push_back(
        {{"host", operation.host},
         {"state", operation.state},
         {"kind", operation.kind},
         {"start", Time(operation.start)},
         {"end", Time(operation.end)},
         {"how", operation.how == OperationObserver::End::kSilent ? "silent"
                                                                  : "callback"},
         {"status", std::string(IoStatusName(operation.status))},
         {"count", operation.count},
         {"output", operation.output}});
  }
  data["operations"] = std::move(operations);
  Json marks = Json::array();
  for (const RecordedMark& mark : recording.marks()) {
    marks.push_back(
        {{"time", Time(mark.time)}, {"host", mark.host}, {"text", mark.text}});
  }
  data["marks"] = std::move(marks);
  // Nothing in the data may end the script it stands in.
  std::string json = absl::StrReplaceAll(
      data.dump(-1, ' ', true, Json::error_handler_t::replace),
      {{"</", "<\\/"}, {"<!", "<\\u0021"}});
  return absl::StrReplaceAll(kPage, {{"TITLE", Escape(title)}, {"DATA", json}});
}

}  // namespace aios::sim
