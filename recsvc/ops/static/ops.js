"use strict";
// Draws what /ops/data tells. Rates and percentiles are made here, from counters that cover all workers, between two
// answers: no server has to remember anything for a viewer. Text is only ever set as text, never as markup.

const POLL_MS = 2000, LETTERS_MS = 5000, WINDOW_MS = 15000, KEPT_MS = 120000, SAMPLES = 3;
// The objective (docs/monitoring.md); and what a canary that runs has measured again by then, as it gives up after 30 s.
const FRESH_SECONDS = 2, OLD_SECONDS = 60;
const MEASURED = { seen: "from an event to an answer", late: "the event was in no answer", refused: "the event was not acknowledged" };
const samples = [];
const lines = { qps: [], p95: [] };
let key = null;

const at = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const whole = (value) => number.format(Math.round(value));

function text(node, value, state) {
  node.textContent = value;
  node.classList.remove("good", "warn", "bad");
  if (state) node.classList.add(state);
}

function cells(row) {
  const line = document.createElement("tr");
  for (const each of row) {
    const cell = document.createElement("td");
    const { value, kind } = typeof each === "object" && each !== null ? each : { value: each };
    cell.textContent = value ?? "–";
    if (kind) cell.className = kind;
    line.append(cell);
  }
  return line;
}

const n = (value, state) => ({ value, kind: state ? `n ${state}` : "n" });

function table(part, rows, error) {
  const section = at(`part-${part}`), away = section.querySelector(".away"), shown = section.querySelector("table");
  away.hidden = !error;
  away.textContent = error ?? "";
  shown.hidden = Boolean(error);
  if (!error) shown.querySelector("tbody").replaceChildren(...rows.map(cells));
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${whole(Math.max(0, seconds) * 1000)} ms`;
  if (seconds < 90) return `${seconds.toFixed(1)} s`;
  if (seconds < 5400) return `${whole(seconds / 60)} min`;
  if (seconds < 172800) return `${whole(seconds / 3600)} h`;
  return `${whole(seconds / 86400)} days`;
}

const moment = (ms) => (ms ? new Date(ms).toISOString().replace("T", " ").slice(0, 19) + " UTC" : "–");

// As Prometheus' histogram_quantile: linear within a bucket; beyond the last edge that edge. In seconds.
function quantile(q, edges, buckets) {
  const all = buckets[buckets.length - 1];
  if (!all) return null;
  const rank = q * all;
  const place = buckets.findIndex((each) => each >= rank);
  if (place >= edges.length) return edges[edges.length - 1];
  const below = place ? buckets[place - 1] : 0, from = place ? edges[place - 1] : 0;
  return from + ((edges[place] - from) * (rank - below)) / Math.max(1, buckets[place] - below);
}

function added(lists) {
  return lists.reduce((sum, each) => each.map((value, i) => value + (sum[i] ?? 0)), []);
}

// What came between two answers, by route. A counter that has fallen is one of a service that began anew.
function between(before, after) {
  const routes = {};
  for (const [name, now] of Object.entries(after.routes)) {
    const then = before.routes[name] ?? { buckets: now.buckets.map(() => 0), errors: 0, refused: 0 };
    const buckets = now.buckets.map((value, i) => value - (then.buckets[i] ?? 0));
    if (buckets.some((value) => value < 0)) return null;
    routes[name] = { buckets, errors: now.errors - then.errors, refused: now.refused - then.refused };
  }
  return routes;
}

function remember(now, part) {
  if (part.error) return null;
  samples.push({ now, part });
  while (samples.length > 2 && samples[1].now <= now - WINDOW_MS) samples.shift();
  const first = samples[0];
  if (first.now >= now) return null;
  const routes = between(first.part, part);
  if (routes === null) samples.splice(0, samples.length - 1);
  return routes && { routes, overloaded: part.overloaded - first.part.overloaded, seconds: (now - first.now) / 1000 };
}

function draw(id, now, value) {
  const line = lines[id];
  line.push([now, value ?? 0]);
  while (line[0][0] < now - KEPT_MS) line.shift();
  const most = Math.max(...line.map((each) => each[1])) || 1;
  const points = line.map(([when, each]) => `${(120 - (now - when) / 1000).toFixed(1)},${(29 - (28 * each) / most).toFixed(1)}`);
  at(`${id}-line`).querySelector("polyline").setAttribute("points", points.join(" "));
}

function showRequests(now, part) {
  const found = remember(now, part);
  if (part.error || !found) {
    table("requests", [], part.error);
    for (const id of ["qps", "p95", "errors"]) text(at(id), part.error ? "away" : "–", part.error ? "bad" : "");
    return;
  }
  const all = { buckets: added(Object.values(found.routes).map((each) => each.buckets)), errors: found.overloaded, refused: 0 };
  for (const each of Object.values(found.routes)) {
    all.errors += each.errors;
    all.refused += each.refused;
  }
  // Who was refused before there was a route has no duration; such requests count, and as failures.
  const answered = all.buckets[all.buckets.length - 1] ?? 0, count = answered + found.overloaded, p95 = quantile(0.95, part.edges, all.buckets);
  text(at("qps"), `${(count / found.seconds).toFixed(1)} /s`);
  text(at("qps-more"), `over ${found.seconds.toFixed(0)} s, all workers`);
  text(at("p95"), duration(p95));
  text(at("p95-more"), answered ? `p50 ${duration(quantile(0.5, part.edges, all.buckets))}` : "no requests");
  text(at("errors"), count ? `${((100 * all.errors) / count).toFixed(1)} %` : "0 %", all.errors ? "bad" : "good");
  text(at("errors-more"), `${whole(all.errors)} 5xx, ${whole(found.overloaded)} of them for too many at once, ${whole(all.refused)} 4xx; ${whole(part.degraded_answers)} degraded since the start`);
  draw("qps", now, count / found.seconds);
  draw("p95", now, p95);
  const rows = Object.entries(found.routes).map(([name, each]) => {
    const number = each.buckets[each.buckets.length - 1] ?? 0;
    const at = (q) => n(number ? duration(quantile(q, part.edges, each.buckets)) : "–");
    return [name === "None" ? "no such route" : name, n((number / found.seconds).toFixed(1)), at(0.5), at(0.95), at(0.99), n(whole(each.errors), each.errors ? "bad" : ""), n(whole(each.refused))];
  });
  table("requests", rows);
}

function showStream(now, part) {
  table("stream", part.error ? [] : [
    ["read", n(whole(part.read))],
    ...Object.entries(part.applied).map(([name, count]) => [`counted: ${name}`, n(whole(count))]),
    ["duplicates", n(whole(part.duplicates))],
    ["dead letters", n(whole(Object.values(part.dead).reduce((sum, each) => sum + each, 0)))],
    ["counted without tags", n(whole(part.untagged))],
    ["statistics last written", n(part.written_ms ? `${duration((now - part.written_ms) / 1000)} ago` : "never")],
    ["newest event", n(moment(part.newest_event_ms))],
  ], part.error);
  table("dead", part.error ? [] : Object.entries(part.dead).sort((a, b) => b[1] - a[1]).map(([name, count]) => [name, n(whole(count))]), part.error);
}

// What the canary measured last: from sending an event to its being in an answer.
function showFreshness(part) {
  if (part.error || !part.outcome) {
    text(at("freshness"), part.error ? "away" : "not measured", part.error ? "bad" : "");
    text(at("freshness-more"), part.error ?? part.why);
    return;
  }
  const seen = part.outcome === "seen", old = part.seconds_old > OLD_SECONDS;
  text(at("freshness"), seen ? duration(part.seconds) : part.outcome, !seen ? "bad" : old || part.seconds > FRESH_SECONDS ? "warn" : "good");
  text(at("freshness-more"), `${MEASURED[part.outcome]}; measured ${duration(part.seconds_old)} ago`);
}

function showLag(part) {
  table("lag", part.error ? [] : Object.entries(part.topics).sort().map(([name, each]) => [name, n(whole(each.end)), n(whole(each.waiting), each.waiting ? "warn" : "")]), part.error);
  text(at("lag"), part.error ? "away" : whole(part.waiting), part.error ? "bad" : part.waiting ? "warn" : "good");
  text(at("lag-more"), part.error ?? (part.waiting ? "records still to be counted" : "all that was sent is counted"));
}

function showJob(now, part) {
  if (part.error || part.why) {
    table("job", part.error ? [] : [[part.why]], part.error);
    text(at("job"), part.error ? "away" : part.state ?? "not asked", part.error || part.state ? "bad" : "");
    text(at("job-more"), "");
    return;
  }
  const running = part.state === "RUNNING" && part.tasks.running === part.tasks.all, newest = part.checkpoints.newest;
  text(at("job"), part.state.toLowerCase(), running ? "good" : "bad");
  text(at("job-more"), `${part.tasks.running} of ${part.tasks.all} tasks running`);
  table("job", [
    ["state", n(part.state, running ? "good" : "bad")],
    ["tasks running", n(`${part.tasks.running} of ${part.tasks.all}`)],
    ["since", n(moment(part.since_ms))],
    ["restarts", n(part.restarts)],
    ["newest checkpoint", n(newest ? `${duration(newest.seconds_old)} ago` : "none")],
    ["it took", n(newest ? duration(newest.took_ms / 1000) : "–")],
    ["its size", n(newest ? `${(newest.bytes / 1e6).toFixed(1)} MB` : "–")],
    ["checkpoints completed, failed", n(`${whole(part.checkpoints.completed)}, ${whole(part.checkpoints.failed)}`)],
  ]);
}

function showWeights(part, history) {
  table("weights", part.error ? [] : Object.entries(part.weights).map(([name, weight]) => [name, n(weight)]), part.error);
  const rejected = part.error || !part.rejected ? "" : `; ${whole(part.rejected)} bad documents refused by this worker`;
  text(at("weights-more"), part.error ? "" : part.known ? `version ${part.version}${rejected}` : "ZooKeeper has not been read yet: the default");
  const members = history.members ?? [], newest = part.version;
  table("members", members.map((each) => [each.role, n(each.pid), n(each.version, each.version === newest ? "" : "warn")]), history.error);
  const changes = history.changes ?? [];
  table("history", changes.map((each) => [
    n(each.version), moment(each.made_ms), each.by || "another client, or the default",
    each.weights ? Object.entries(each.weights).map(([name, weight]) => `${name} ${weight}`).join(" · ") : "not kept",
  ]), history.error);
}

function verdict(data) {
  const wrong = [];
  if (!data.service.error) {
    if (!data.service.redis) wrong.push("Redis is away");
    if (!data.service.zookeeper) wrong.push("ZooKeeper is away");
    if (!data.service.statistics) wrong.push("statistics were not read yet");
  }
  if (["late", "refused"].includes(data.freshness.outcome) && data.freshness.seconds_old <= OLD_SECONDS) wrong.push(`the canary's event was ${data.freshness.outcome}`);
  if (data.lag.error) wrong.push("the lag is not known");
  if (data.job.error) wrong.push("Flink does not say how the job does");
  else if (data.job.state && data.job.state !== "RUNNING") wrong.push(`the job is ${data.job.state}`);
  text(at("verdict"), wrong.length ? wrong.join("; ") : "all is well", wrong.length ? "bad" : "good");
}

async function look() {
  try {
    const answer = await fetch("/ops/data", { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const data = await answer.json();
    show(data);
    text(at("asked"), moment(data.now_ms));
  } catch (error) {
    text(at("verdict"), `the service does not answer (${error.message})`, "bad");
  }
  setTimeout(look, POLL_MS);
}

function show(data) {
  showRequests(data.now_ms, data.requests);
  showFreshness(data.freshness);
  showStream(data.now_ms, data.stream);
  showLag(data.lag);
  showJob(data.now_ms, data.job);
  showWeights(data.weights, data.history);
  verdict(data);
}

function letter(each) {
  const box = document.createElement("div"), about = document.createElement("p"), where = document.createElement("p");
  box.className = "letter";
  about.textContent = each.detail;
  where.className = "quiet";
  where.textContent = `${each.record || "–"}, ${moment(each.read_ms)}${each.bytes ? `, ${whole(each.bytes)} bytes` : ""}`;
  box.append(about, where);
  if (each.text !== null && each.text !== undefined) {
    const raw = document.createElement("pre");
    raw.textContent = each.text;
    box.append(raw);
  }
  return box;
}

function showLetters(letters) {
  const reasons = new Map();
  for (const each of letters) reasons.set(each.reason, [...(reasons.get(each.reason) ?? []), each]);
  const shown = [...reasons].flatMap(([reason, some]) => {
    const title = document.createElement("h3");
    title.textContent = reason;
    return [title, ...some.slice(0, SAMPLES).map(letter)];
  });
  at("letters").replaceChildren(...shown);
  return letters.length ? `out of the newest ${letters.length}, at most ${SAMPLES} of each reason` : "there are none";
}

async function lookAtLetters() {
  if (key === null) return;
  const asked = key;
  let pause = LETTERS_MS;
  try {
    const answer = await fetch("/ops/dead-letters", { cache: "no-store", headers: asked ? { "X-API-Key": asked } : {} });
    const found = await answer.json();
    if (!answer.ok || found.error) {
      text(at("letters-said"), found.error ?? found.detail, "bad");
      if (answer.status === 401 || answer.status === 403) key = null;
      at("letters").replaceChildren();
      pause = POLL_MS;
    } else {
      text(at("letters-said"), showLetters(found.letters));
    }
  } catch (error) {
    text(at("letters-said"), `the service does not answer (${error.message})`, "bad");
  }
  if (key !== null) setTimeout(lookAtLetters, pause);
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const begins = key === null;
  key = at("key").value; // kept in this page only, and gone with it
  if (begins) lookAtLetters();
});

look();
