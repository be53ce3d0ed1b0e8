#include "sim/diagram.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "sim/fault_name.h"

namespace aios::sim {

namespace {

using Json = nlohmann::ordered_json;

// The page draws itself from the runs that take the place of DATA, and of them
// what is in view: so it stays quick when they are long.
constexpr char kPage[] = R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>TITLE</title>
<style>
  body { margin: 0; font: 13px/1.45 system-ui, "DejaVu Sans", sans-serif; color: #1b1f24; background: #fff; }
  header { position: sticky; top: 0; left: 0; z-index: 2; width: 100vw; box-sizing: border-box; padding: 10px 18px 6px; background: #f6f8fa; border-bottom: 1px solid #d0d7de; }
  h1 { display: inline; font-size: 17px; margin: 0 10px 0 0; }
  #verdict { padding: 1px 9px; border-radius: 9px; color: #fff; font-weight: 600; }
  #about { max-width: 110ch; color: #424a53; }
  #failures { margin: 2px 0 0; color: #cf222e; white-space: pre-wrap; }
  #controls { margin-top: 4px; }
  label { margin-right: 14px; white-space: nowrap; }
  input { vertical-align: -2px; }
  .key { white-space: nowrap; color: #57606a; margin-right: 12px; }
  .key b { display: inline-block; width: 10px; height: 10px; margin-right: 4px; border-radius: 2px; }
  #heads { position: sticky; z-index: 1; display: block; background: #fffffff2; border-bottom: 1px solid #d0d7de; }
  #picture { display: block; }
  svg text { font: 11px system-ui, "DejaVu Sans", sans-serif; }
  svg .host { font-weight: 600; font-size: 14px; }
  svg .time { fill: #1b1f24; text-anchor: end; font-variant-numeric: tabular-nums; }
  svg .passed { fill: #8c959f; text-anchor: end; font-size: 10px; font-variant-numeric: tabular-nums; }
  svg .on { paint-order: stroke; stroke: #fff; stroke-width: 5px; stroke-linejoin: round; }
</style>
</head>
<body>
<header>
  <select id="which"></select>
  <h1 id="title"></h1><span id="verdict"></span>
  <div id="about"></div>
  <div id="failures"></div>
  <div id="controls">
    <label><input type="checkbox" id="packets" checked> packets</label>
    <label><input type="checkbox" id="acks"> bare acknowledgements</label>
    <label><input type="checkbox" id="operations" checked> operations</label>
    <label><input type="checkbox" id="queue" checked> output queue</label>
    <label>rows <input type="range" id="height" min="5" max="40" value="22"></label>
    <span id="keys"></span>
  </div>
</header>
<svg id="heads" height="26"></svg>
<svg id="picture"></svg>
<noscript>This picture is drawn by a script in the page; nothing is fetched.</noscript>
<script>
'use strict';
const runs = DATA;
const colors = {ok: '#2da44e', eof: '#0969da', timeout: '#bf8700', aborted: '#8250df', error: '#cf222e', closed: '#8c959f', open: '#8c959f'};
const names = {closed: 'ended by a close', open: 'still open'};
const queueColor = '#54aeff', lossColor = '#cf222e', udpColor = '#6639ba', ackColor = '#afb8c1', dataColor = '#24292f';
const lane = 12, row0 = 22, charWidth = 6.2;
const svgNamespace = 'http://www.w3.org/2000/svg';
const $ = id => document.getElementById(id);
function add(parent, name, attributes, text) {
  const element = document.createElementNS(svgNamespace, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
  return element;
}
function tip(element, text) { add(element, 'title', {}, text); return element; }

// Times are whole nanoseconds, more than a plain number can hold.
const units = [[86400000000000n, 'd'], [3600000000000n, 'h'], [60000000000n, 'min'], [1000000000n, 's'], [1000000n, 'ms'], [1000n, '\u00b5s'], [1n, 'ns']];
function spell(time) {
  if (time === 0n) return '0';
  if (time < 0n) return '\u2212' + spell(-time);
  if (time >= 60000000000n) {
    // Days, hours and minutes, each a whole number, then the seconds.
    let text = '', rest = time;
    for (const [size, name] of units.slice(0, 3)) {
      if (rest >= size) { text += `${rest / size} ${name} `; rest %= size; }
    }
    return rest === 0n ? text.trim() : text + fraction(rest, 1000000000n, 's');
  }
  for (const [size, name] of units) if (time >= size) return fraction(time, size, name);
}
function fraction(time, size, name) {
  const digits = String(size).length - 1;
  const rest = digits ? String(time % size).padStart(digits, '0').replace(/0+$/, '') : '';
  return `${time / size}${rest ? '.' + rest : ''} ${name}`;
}
const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;
const bytesText = count => plural(count, 'byte');

let run, plan, gutter;

// Everything with its place: what is drawn later depends on what is in view.
function layOut() {
  const shown = id => $(id).checked;
  const packets = shown('packets') ? run.packets.filter(p => !p.bare || shown('acks')) : [];
  const operations = shown('operations') ? run.operations : [];
  const moments = new Set();
  const see = time => { if (time !== null) moments.add(time); };
  for (const p of packets) { see(p.sent); see(p.ended); }
  for (const o of run.operations) if (shown('operations') || (shown('queue') && o.output)) { see(o.start); see(o.end); }
  for (const m of run.marks) see(m.time);
  see(0n);
  const times = [...moments].sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
  gutter = Math.max(168, 84 + charWidth * times.reduce((most, time) => Math.max(most, spell(time).length), 0));
  const index = new Map(times.map((time, i) => [time, i]));
  const last = times.length;
  const rowOf = time => time === null ? last : index.get(time);

  // What is said beside a host in a row: one line each, the same ones counted.
  const lines = run.hosts.map(() => new Map());
  const say = (host, row, text, color, more) => {
    if (!lines[host].has(row)) lines[host].set(row, new Map());
    const here = lines[host].get(row);
    const old = here.get(text);
    if (old) return ++old.count;
    here.set(text, {text, color, more, count: 1});
    return 1;
  };
  const busy = run.hosts.map(() => false);
  for (const o of operations) {
    const state = o.end === null ? 'open' : o.silent ? 'closed' : o.status;
    const result = state === 'open' || state === 'closed' ? names[state] : `${o.error || o.status}${o.bytes === null ? '' : ', ' + bytesText(o.bytes)}`;
    o.color = colors[state];
    o.from = rowOf(o.start);
    o.to = rowOf(o.end);
    o.tip = `${o.who}: ${o.what}\n${result}\n${spell(o.start)} to ${o.end === null ? 'the end' : spell(o.end)}${o.end === null ? '' : ', ' + spell(o.end - o.start)}`;
    busy[o.host] = true;
    if (o.from === o.to) {
      // Some stand for all that were over at once.
      o.hidden = say(o.host, o.from, `${o.who} ${o.what} \u2192 ${result}`, o.color, o.tip) > 3;
    } else {
      o.hidden = false;
      say(o.host, o.from, `${o.who} ${o.what}`, '#57606a', o.tip);
      say(o.host, Math.min(o.to, last), `${o.who} ${o.word} \u2192 ${result}`, o.color, o.tip);
    }
  }
  // Rows are as high as what is said in them.
  const step = Number($('height').value);
  const linesMax = 6;
  const heights = times.map(() => step);
  heights.push(step);
  for (const of of lines) {
    for (const [row, here] of of) heights[row] = Math.max(heights[row], Math.min(here.size, linesMax + 1) * 13 + 4);
  }
  const tops = [];
  let y = row0;
  for (const height of heights) { tops.push(y); y += height; }
  const bottom = tops[last];
  const yOf = time => time === null ? bottom : tops[index.get(time)];

  // Bars beside each other where they overlap. A write that waits in a queue
  // has its bar from the moment at which it is the first.
  const lanes = run.hosts.map(() => []);
  const heads = new Map();
  for (const o of operations) {
    o.top = yOf(o.start);
    o.bottom = yOf(o.end);
    if (o.output) {
      const key = `${o.host} ${o.who}`;
      const before = heads.get(key);
      if (before !== undefined && before > o.top) o.top = Math.min(before, o.bottom);
      heads.set(key, Math.max(before || 0, o.bottom));
    }
  }
  for (const o of operations.filter(o => !o.hidden).sort((a, b) => a.top - b.top || b.bottom - a.bottom)) {
    const used = lanes[o.host];
    let place = 0;
    while (used[place] !== undefined && used[place] > o.top) ++place;
    if (place > 23) place = 23;
    used[place] = Math.max(o.bottom, o.top + 5);
    o.lane = place;
  }

  // Columns. The first host speaks to its left, the others to their right.
  const textWidth = run.hosts.map((name, i) => {
    let longest = 0;
    for (const here of lines[i].values()) for (const line of here.values()) longest = Math.max(longest, line.text.length + (line.count > 1 ? 5 : 0));
    return Math.min(longest * charWidth + 14, 430);
  });
  const gap = run.hosts.length > 4 ? 190 : 320;
  const at = [];
  let x = gutter;
  run.hosts.forEach((name, i) => {
    const room = busy[i] ? lanes[i].length * lane + textWidth[i] : 0;
    if (i === 0) { x += room + 26; at.push(x); } else { x += gap; at.push(x); x += room; }
  });
  const width = Math.max(x + (run.hosts.length === 1 ? gap : 60), 640);
  plan = {packets, operations, times, tops, heights, bottom, yOf, lines, lanes, at, width, linesMax, step};

  // How many output operations of a host are in progress or wait.
  plan.depths = run.hosts.map(() => []);
  if (shown('queue')) {
    run.hosts.forEach((name, i) => {
      const changes = new Map();
      for (const o of run.operations) {
        if (o.host !== i || !o.output || o.start === o.end) continue;
        changes.set(o.start, (changes.get(o.start) || 0) + 1);
        changes.set(o.end, (changes.get(o.end) || 0) - 1);
      }
      const order = [...changes.keys()].sort((a, b) => a === null ? 1 : b === null ? -1 : a < b ? -1 : a > b ? 1 : 0);
      let depth = 0;
      order.forEach((time, k) => {
        depth += changes.get(time);
        if (depth > 0) plan.depths[i].push({top: yOf(time), bottom: k + 1 < order.length ? yOf(order[k + 1]) : bottom, depth});
      });
    });
  }
  // Packets that go together have one label.
  const groups = new Map();
  for (const p of packets) {
    const key = `${p.from} ${p.to} ${p.sent} ${p.ended} ${p.lost}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(p);
    p.label = null;
    p.faint = false;
  }
  for (const group of groups.values()) {
    const first = group[0];
    const size = group.reduce((sum, p) => sum + p.bytes, 0);
    first.label = group.every(p => p.text === first.text)
      ? (group.length === 1 ? '' : `${group.length} \u00d7 `) + first.text
      : `${plural(group.length, 'packet')}, ${bytesText(size)}`;
    if (first.lost) first.label += ` \u2014 ${first.lost}`;
  }
  // Many that leave together and arrive at different times are a fan: one label
  // where it begins, the others where the packets arrive.
  const fans = new Map();
  for (const p of packets) {
    if (p.label === null) continue;
    p.fan = null;
    if (p.lost) continue;
    const key = `${p.from} ${p.to} ${p.sent}`;
    if (!fans.has(key)) fans.set(key, []);
    fans.get(key).push(p);
  }
  for (const fan of fans.values()) {
    if (fan.length < 4) continue;
    for (const p of fan) p.fan = fan[0];
    const key = p => `${p.from} ${p.to} ${p.sent}`;
    const all = packets.filter(p => !p.lost && key(p) === key(fan[0]));
    fan[0].fanLabel = `${plural(all.length, 'packet')}, ${bytesText(all.reduce((sum, p) => sum + p.bytes, 0))}`;
    for (const p of all) p.faint = true;
  }
}

function drawHeads() {
  const {at, width} = plan;
  const heads = $('heads');
  heads.replaceChildren();
  heads.setAttribute('width', width);
  heads.style.top = document.querySelector('header').offsetHeight + 'px';
  add(heads, 'text', {x: gutter - 64, y: 17, class: 'time'}, 'virtual time');
  add(heads, 'text', {x: gutter - 8, y: 17, class: 'passed'}, 'passed');
  run.hosts.forEach((name, i) => add(heads, 'text', {x: at[i], y: 18, 'text-anchor': 'middle', class: 'host'}, name));
}

function drawVisible() {
  const {packets, operations, times, tops, heights, bottom, yOf, lines, lanes, at, width, linesMax, step} = plan;
  const picture = $('picture');
  picture.replaceChildren();
  picture.setAttribute('width', width);
  picture.setAttribute('height', bottom + 40);
  const offset = picture.getBoundingClientRect().top;
  const from = -offset - 300, to = -offset + window.innerHeight + 300;
  const seen = (top, end) => end >= from && top <= to;
  // Where there is writing already, a label goes a little lower, or nowhere.
  const written = new Map();
  const reserve = (left, right, y) => {
    const line = Math.round(y / 11);
    if (!written.has(line)) written.set(line, []);
    written.get(line).push({y, left, right});
  };
  const write = (x, y, side, text, fill) => {
    const wide = text.length * charWidth;
    const left = side > 0 ? x : x - wide;
    for (let tries = 0; tries < 3; ++tries, y += 11) {
      const line = Math.round(y / 11);
      const boxes = [line - 1, line, line + 1].flatMap(n => written.get(n) || []);
      if (boxes.some(box => Math.abs(box.y - y) < 10 && box.left < left + wide && left < box.right)) continue;
      reserve(left, left + wide, y);
      add(picture, 'text', {x, y, 'text-anchor': side > 0 ? 'start' : 'end', fill, class: 'on'}, text);
      return;
    }
  };
  run.hosts.forEach((name, i) => add(picture, 'line', {x1: at[i], y1: Math.max(0, from), x2: at[i], y2: Math.min(bottom + 14, to), stroke: '#8c959f', 'stroke-width': 1.5}));
  let labelled = -100;
  times.forEach((time, i) => {
    const y = tops[i];
    if (!seen(y, y + heights[i])) return;
    add(picture, 'line', {x1: gutter - 4, y1: y, x2: width, y2: y, stroke: time === 0n ? '#57606a' : '#eaeef2', 'stroke-dasharray': time === 0n ? '2 4' : 'none'});
    if (y - labelled < 12) return;
    labelled = y;
    tip(add(picture, 'text', {x: gutter - 64, y: y + 4, class: 'time'}, spell(time)), `${time} ns`);
    if (i > 0 && step >= 12) add(picture, 'text', {x: gutter - 8, y: y + 4, class: 'passed'}, '+' + shorter(time - times[i - 1]));
  });
  run.hosts.forEach((name, i) => {
    for (const d of plan.depths[i]) {
      if (!seen(d.top, d.bottom)) continue;
      const side = i === 0 ? 1 : -1, wide = 4 + Math.min(d.depth, 12) * 2;
      tip(add(picture, 'rect', {x: side > 0 ? at[i] + 1 : at[i] - 1 - wide, y: d.top, width: wide, height: Math.max(d.bottom - d.top, 1), fill: queueColor, 'fill-opacity': 0.45}), `${plural(d.depth, 'output operation')} in progress or waiting`);
      if (d.depth > 1 && d.bottom - d.top >= 11) write(at[i] + side * (wide + 4), d.top + 10, side, `queue ${d.depth}`, '#0550ae');
    }
  });
  for (const o of operations) {
    if (o.hidden || !seen(o.top, o.bottom + 5)) continue;
    const side = o.host === 0 ? -1 : 1;
    const x = at[o.host] + side * (5 + o.lane * lane) - (side < 0 ? lane - 3 : 0);
    tip(add(picture, 'rect', {x, y: o.top - 2, width: lane - 3, height: Math.max(o.bottom - o.top, 4) + 1, rx: 2.5, fill: o.color, 'fill-opacity': 0.8}), o.tip);
  }
  for (const m of run.marks) {
    const y = yOf(m.time);
    if (!seen(y, y + 14)) continue;
    const side = m.host === 0 ? 1 : -1;
    add(picture, 'path', {d: 'M 0 -6 l 6 6 l -6 6 l -6 -6 z', transform: `translate(${at[m.host]} ${y})`, fill: '#bc4c00'});
    write(at[m.host] + side * 11, y + 4, side, m.text, '#953800');
  }
  const labels = [];
  for (const p of packets) {
    const top = yOf(p.sent), end = yOf(p.ended);
    if (!seen(top, end)) continue;
    const x1 = at[p.from], x2 = p.to < at.length ? at[p.to] : x1 + 90;
    const color = p.lost ? lossColor : p.udp ? udpColor : p.bare ? ackColor : p.reset ? '#bc4c00' : dataColor;
    const loop = p.from === p.to;
    const part = p.lost ? 0.62 : 1;
    const stop = x1 + (x2 - x1) * part, low = p.lost ? top + (end - top) * part : end;
    const line = loop
      ? add(picture, 'path', {d: `M ${x1} ${top} c 46 0, 46 ${end - top}, 0 ${end - top}`, fill: 'none', stroke: color})
      : add(picture, 'line', {x1, y1: top, x2: stop, y2: low, stroke: color, 'stroke-width': p.bare ? 1 : 1.4, 'stroke-opacity': p.faint ? 0.4 : 1, 'stroke-dasharray': p.lost ? '5 3' : 'none'});
    tip(line, `${p.text}\n${p.more}\nsent ${spell(p.sent)}${p.ended === null ? ', still under way' : p.lost ? `, ${p.lost} ${spell(p.ended)}` : `, arrived ${spell(p.ended)}, ${spell(p.ended - p.sent)} later`}`);
    if (loop) continue;
    const angle = Math.atan2(low - top, stop - x1) * 180 / Math.PI;
    if (p.lost) {
      add(picture, 'path', {d: 'M -5 -5 l 10 10 m 0 -10 l -10 10', transform: `translate(${stop} ${low})`, stroke: color, 'stroke-width': 2.2});
    } else if (p.ended !== null) {
      add(picture, 'path', {d: 'M 0 0 l -8 -3.4 l 0 6.8 z', transform: `translate(${stop} ${low}) rotate(${angle})`, fill: color});
    }
    if (p.label !== null && step >= 10) labels.push([p, x1, x2, top, end, color]);
  }
  run.hosts.forEach((name, i) => {
    const side = i === 0 ? -1 : 1;
    const x = at[i] + side * (9 + lanes[i].length * lane);
    for (const [row, here] of lines[i]) {
      if (!seen(tops[row], tops[row] + heights[row])) continue;
      let y = tops[row] + 4, n = 0;
      for (const line of here.values()) {
        if (n === linesMax && here.size > linesMax + 1) {
          add(picture, 'text', {x, y, 'text-anchor': side < 0 ? 'end' : 'start', fill: '#57606a', class: 'on'}, `and ${here.size - linesMax} more`);
          break;
        }
        let text = line.text.length > 66 ? line.text.slice(0, 65) + '\u2026' : line.text;
        if (line.count > 1) text += ` \u00d7${line.count}`;
        tip(add(picture, 'text', {x, y, 'text-anchor': side < 0 ? 'end' : 'start', fill: line.color, class: 'on'}, text), line.more);
        const wide = text.length * charWidth;
        reserve(side < 0 ? x - wide : x, side < 0 ? x : x + wide, y);
        y += 13;
        ++n;
      }
    }
  });
  for (const [p, x1, x2, top, end, color] of labels) {
    const side = x2 > x1 ? 1 : -1;
    const fill = p.bare ? '#8c959f' : color;
    const near = (along, y) => [x1 + (x2 - x1) * along, y + (end - top) * along - 3];
    if (p.fan !== null) {
      const wide = p.label.length * charWidth + 16;
      const [x, y] = near(Math.max(1 - wide / Math.abs(x2 - x1), 0.5), top);
      write(x, y, side, p.label, fill);
      if (p.fan === p) write(x1 + side * 64, top - 5, side, p.fanLabel, fill);
    } else {
      const [x, y] = near(Math.min(64 / Math.abs(x2 - x1), 0.4), top);
      write(x, y, side, p.label, fill);
    }
  }
}
// Three digits are enough for what has passed.
function shorter(time) {
  for (const [size, name] of units) {
    if (time < size) continue;
    const whole = Number(time) / Number(size);
    return `${whole >= 100 ? Math.floor(whole) : Number(whole.toPrecision(3))} ${name}`;
  }
  return '0';
}

function show(number) {
  run = runs[number];
  $('title').textContent = run.title;
  $('about').textContent = run.about;
  $('verdict').textContent = run.verdict;
  $('verdict').style.background = run.failures.length ? '#cf222e' : '#2da44e';
  $('verdict').style.display = run.verdict ? 'inline' : 'none';
  $('failures').textContent = run.failures.join('\n');
  $('acks').checked = run.packets.length <= 150;
  redraw();
  window.scrollTo(0, 0);
}
function redraw() { layOut(); drawHeads(); drawVisible(); }
let asked = false;
function later() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; drawVisible(); });
}

for (const r of runs) {
  for (const p of r.packets) { p.sent = BigInt(p.sent); p.ended = p.ended === null ? null : BigInt(p.ended); }
  for (const o of r.operations) { o.start = BigInt(o.start); o.end = o.end === null ? null : BigInt(o.end); }
  for (const m of r.marks) m.time = BigInt(m.time);
}
const which = $('which');
runs.forEach((r, i) => which.add(new Option(`${r.failures.length ? '\u2717 ' : ''}${r.title}`, i)));
if (runs.length === 1) which.style.display = 'none';
which.addEventListener('change', () => show(Number(which.value)));
const key = (color, text) => {
  const span = document.createElement('span'), box = document.createElement('b');
  span.className = 'key';
  box.style.background = color;
  span.append(box, text);
  $('keys').append(span);
};
for (const status in colors) if (status !== 'open') key(colors[status], status);
key(queueColor, 'output queue');
key(lossColor, 'lost');
key(udpColor, 'UDP');
for (const input of document.querySelectorAll('input')) input.addEventListener('input', redraw);
window.addEventListener('scroll', later);
window.addEventListener('resize', redraw);
show(0);
</script>
</body>
</html>
)html";

std::string Escape(std::string_view text) {
  return absl::StrReplaceAll(
      std::string(text),
      {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

// As text: more digits than a number of the page can hold.
Json Time(Nanoseconds time, Nanoseconds zero) {
  return time == kForever ? Json(nullptr) : Json(absl::StrCat(time - zero));
}

std::string Label(const Packet& packet) {
  if (packet.protocol == Packet::Protocol::kUnreachable) {
    return "port unreachable";
  }
  std::string label;
  auto flag = [&](Packet::Flags bit, const char* name) {
    if ((packet.flags & bit) != 0) {
      absl::StrAppend(&label, label.empty() ? "" : " ", name);
    }
  };
  flag(Packet::kSyn, "SYN");
  flag(Packet::kFin, "FIN");
  flag(Packet::kRst, "RST");
  bool tcp = packet.protocol == Packet::Protocol::kTcp;
  if (tcp && ((packet.flags & Packet::kSyn) != 0 || label.empty()) &&
      packet.payload.empty()) {
    flag(Packet::kAck, "ACK");
  }
  if (!packet.payload.empty() || !tcp) {
    absl::StrAppend(&label, label.empty() ? "" : " ", packet.payload.size(),
                    " B");
  }
  if (tcp && packet.window == 0 && (packet.flags & Packet::kAck) != 0 &&
      (packet.flags & Packet::kRst) == 0) {
    label += ", window closed";
  }
  if (packet.corrupted) label += ", corrupted";
  return label;
}

Json Packets(const Recording& recording, Nanoseconds zero) {
  Json packets = Json::array();
  // When a segment was sent last, by its connection and place.
  std::map<std::tuple<uint64_t, uint64_t, size_t, uint8_t>, Nanoseconds> sent;
  for (const RecordedPacket& recorded : recording.packets()) {
    const Packet& packet = recorded.packet;
    bool tcp = packet.protocol == Packet::Protocol::kTcp;
    bool bare = tcp && packet.payload.empty() && packet.flags == Packet::kAck;
    std::string text = Label(packet);
    if (tcp && !bare && packet.source_end != 0) {
      auto [before, first] =
          sent.try_emplace({packet.source_end, packet.sequence,
                            packet.payload.size(), packet.flags},
                           recorded.sent);
      if (!first) {
        text +=
            before->second == recorded.sent ? ", duplicate" : ", sent again";
        before->second = recorded.sent;
      }
    }
    std::string lost;
    if (recorded.dropped) {
      lost = recorded.fault == Fault::kCount ? "nobody has this address"
             : recorded.fault == Fault::kLoss
                 ? "lost"
                 : absl::StrCat("dropped: ",
                                std::string(FaultName(recorded.fault)));
    }
    packets.push_back(
        {{"from", packet.from},
         {"to", packet.to},
         {"sent", Time(recorded.sent, zero)},
         {"ended", Time(recorded.ended, zero)},
         {"lost", lost},
         {"udp", !tcp},
         {"bare", bare},
         {"reset", tcp && (packet.flags & Packet::kRst) != 0},
         {"bytes", packet.payload.size()},
         {"text", text},
         {"more",
          absl::StrCat(packet.source.ToString(), " to ",
                       packet.target.ToString(),
                       tcp ? absl::StrCat(", sequence ", packet.sequence,
                                          ", window ", packet.window)
                           : std::string())}});
  }
  return packets;
}

Json Operations(const Recording& recording, Nanoseconds zero) {
  Json operations = Json::array();
  for (const RecordedOperation& operation : recording.operations()) {
    bool has_bytes = operation.kind != "ConnectTcp";
    const std::string& asked =
        operation.detail.empty() ? operation.kind : operation.detail;
    operations.push_back(
        {{"host", operation.host},
         {"who", operation.state_name.empty()
                     ? absl::StrCat("state ", operation.state)
                     : operation.state_name},
         {"what", asked},
         {"word", asked.substr(0, asked.find(' '))},
         {"start", Time(operation.start, zero)},
         {"end", Time(operation.end, zero)},
         {"silent", operation.how == OperationObserver::End::kSilent},
         {"status", std::string(IoStatusName(operation.status))},
         {"error", operation.error},
         {"bytes", has_bytes ? Json(operation.count) : Json(nullptr)},
         {"output", operation.output}});
  }
  return operations;
}

}  // namespace

std::string ToDiagram(const Recording& recording, std::string_view title) {
  Nanoseconds first = kForever;
  for (const RecordedPacket& packet : recording.packets()) {
    first = std::min(first, packet.sent);
  }
  for (const RecordedOperation& operation : recording.operations()) {
    first = std::min(first, operation.start);
  }
  for (const RecordedMark& mark : recording.marks()) {
    first = std::min(first, mark.time);
  }
  return ToDiagram({{.title = std::string(title),
                     .recording = &recording,
                     .zero = first == kForever ? 0 : first}});
}

std::string ToDiagram(const std::vector<DiagramRun>& runs) {
  Json data = Json::array();
  for (const DiagramRun& run : runs) {
    Json marks = Json::array();
    for (const RecordedMark& mark : run.recording->marks()) {
      marks.push_back({{"time", Time(mark.time, run.zero)},
                       {"host", mark.host},
                       {"text", mark.text}});
    }
    data.push_back({{"title", run.title},
                    {"about", run.about},
                    {"verdict", run.verdict},
                    {"failures", run.failures},
                    {"hosts", run.recording->hosts()},
                    {"packets", Packets(*run.recording, run.zero)},
                    {"operations", Operations(*run.recording, run.zero)},
                    {"marks", std::move(marks)}});
  }
  // Nothing in the data may end the script it stands in.
  std::string json = absl::StrReplaceAll(
      data.dump(-1, ' ', true, Json::error_handler_t::replace),
      {{"</", "<\\/"}, {"<!", "<\\u0021"}});
  std::string title = runs.size() == 1
                          ? runs[0].title
                          : absl::StrCat(runs.size(), " simulated runs");
  return absl::StrReplaceAll(kPage, {{"TITLE", Escape(title)}, {"DATA", json}});
}

}  // namespace aios::sim
