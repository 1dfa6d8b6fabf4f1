// The service's figures: read from /metrics once a second while somebody looks, drawn as lines.

const POLL_MS = 1000;
const WINDOW_S = 5; // what a rate or a percentile is taken over
const HISTORY_S = 60;
const SVG = "http://www.w3.org/2000/svg";
const NONE = "–";

const TILES = [
  { key: "requests", name: "Requests", unit: "/s", digits: 1 },
  { key: "p50", name: "Latency p50", unit: "ms", digits: 1 },
  { key: "p99", name: "Latency p99", unit: "ms", digits: 1 },
  { key: "batch", name: "Mean batch", unit: "rows", digits: 1 },
  { key: "queue", name: "Queue", unit: "rows", digits: 0 },
  { key: "inFlight", name: "In flight", unit: "slots", digits: 0 },
  { key: "memory", name: "Memory", unit: "MiB", digits: 0 },
  { key: "cores", name: "CPU", unit: "cores", digits: 2 },
];
// Of the table, behind the model's name; `of` is the model's state from /health.
const COLUMNS = [
  (values, of) => (of ? [of.state, of.device].filter(Boolean).join(", ") : NONE),
  (values) => shown(values.requests, 1),
  (values) => shown(values.errors, 1),
  (values) => shown(values.p50, 1, " ms"),
  (values) => shown(values.p99, 1, " ms"),
  (values, of) => shown(values.batch, 1, of ? ` of ${of.max_batch_rows}` : ""),
  (values) => shown(values.queue, 0),
  (values) => shown(values.inFlight, 0),
  (values) => shown(values.answered, 0),
];

/** Makes an element: properties, `data-*` in `data`, then children. */
export function element(name, { data = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

/** Draws the figures into the page from now on; `states` gives each model's state by name. */
export function watch(models, states) {
  const tiles = TILES.map((tile) => makeTile(tile));
  document.getElementById("tiles").replaceChildren(...tiles.map((tile) => tile.root));
  const rows = new Map(models.map((name) => [name, makeRow(name)]));
  const body = document.getElementById("per-model");
  body.replaceChildren(...[...rows.values()].map((row) => row.root));

  let snapshots = [];
  let points = [];
  everySecondInView(async () => {
    const answer = await fetch("metrics", { cache: "no-store" });
    const snapshot = { at: performance.now() / 1000, series: parse(await answer.text()) };
    const last = snapshots.at(-1);
    if (last && total(snapshot, "inference_requests_total") < total(last, "inference_requests_total"))
      snapshots = []; // another service answers at this address
    snapshots = [...snapshots.filter((s) => s.at >= snapshot.at - WINDOW_S - 0.5), snapshot];
    const point = { at: snapshot.at, ...figures(snapshots[0], snapshot) };
    points = [...points.filter((p) => p.at >= snapshot.at - HISTORY_S), point];
    tiles.forEach((tile) => tile.draw(points));
    for (const [name, row] of rows)
      row.draw(figures(snapshots[0], snapshot, name), states().get(name));
  });
}

/** Calls once a second while the tab is in view; one call at a time. */
export function everySecondInView(call, everyMs = POLL_MS) {
  let timer = 0;
  const turn = async () => {
    await call().catch(() => {}); // the next turn may find the service again
    timer = document.hidden ? 0 : setTimeout(turn, everyMs);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !timer) timer = setTimeout(turn);
  });
  timer = setTimeout(turn);
}

/** Prometheus' text: by name, the list of its series {labels, value}. */
function parse(text) {
  const series = new Map();
  for (const line of text.split("\n")) {
    const [, name, inside, value] = /^([a-z_]\w*)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
    if (!name) continue;
    const labels = {};
    for (const [, key, label] of (inside ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[key] = label;
    if (!series.has(name)) series.set(name, []);
    series.get(name).push({ labels, value: Number(value) });
  }
  return series;
}

/** The sum of a name's series that have these labels; of all models where none is named. */
function total(snapshot, name, wanted = {}) {
  const keys = Object.keys(wanted).filter((key) => wanted[key] !== undefined);
  return (snapshot.series.get(name) ?? [])
    .filter(({ labels }) => keys.every((key) => labels[key] === wanted[key]))
    .reduce((sum, { value }) => sum + value, 0);
}

/** What is shown, of one model or of all; a figure that nothing was measured for is null. */
function figures(before, now, model) {
  const seconds = now.at - before.at;
  const grown = (name, labels = {}) =>
    total(now, name, { model, ...labels }) - total(before, name, { model, ...labels });
  const rate = (count) => (seconds > 0 ? count / seconds : null);
  const answered = grown("inference_requests_total");
  const batches = grown("inference_batch_size_count");
  const cpu = "inferctl_process_cpu_seconds_total";
  const buckets = latencies(before, now, model);
  return {
    requests: rate(answered),
    errors: rate(answered - grown("inference_requests_total", { outcome: "ok" })),
    p50: quantile(buckets, 0.5),
    p99: quantile(buckets, 0.99),
    batch: batches ? grown("inference_batch_size_sum") / batches : null,
    queue: total(now, "inferctl_queue_rows", { model }),
    inFlight: total(now, "inferctl_in_flight", { model }),
    answered: total(now, "inference_requests_total", { model }),
    memory: total(now, "inferctl_process_resident_memory_bytes") / 2 ** 20,
    cores: rate(total(now, cpu) - total(before, cpu)),
  };
}

/** Buckets of the time in between, [upper bound in ms, answers up to it], in order. */
function latencies(before, now, model) {
  const bounds = new Map();
  for (const [snapshot, sign] of [[now, 1], [before, -1]])
    for (const { labels, value } of snapshot.series.get("inference_latency_seconds_bucket") ?? [])
      if (!model || labels.model === model) {
        const bound = labels.le === "+Inf" ? Infinity : labels.le * 1000;
        bounds.set(bound, (bounds.get(bound) ?? 0) + sign * value);
      }
  return [...bounds].sort(([a], [b]) => a - b);
}

/** As Prometheus estimates it: evenly spread inside a bucket. */
function quantile(buckets, share) {
  const count = buckets.at(-1)?.[1] ?? 0;
  if (count <= 0) return null;
  const rank = share * count;
  let [lower, below] = [0, 0];
  for (const [upper, upTo] of buckets) {
    if (upTo >= rank && upTo > below)
      return upper === Infinity ? lower : lower + ((upper - lower) * (rank - below)) / (upTo - below);
    [lower, below] = [upper, upTo];
  }
  return lower;
}

function makeTile({ key, name, unit, digits }) {
  const value = element("span", { className: "value", textContent: NONE });
  const peak = element("dd", { className: "peak" });
  const chart = makeChart();
  const root = element(
    "div",
    { className: "tile", data: { key } },
    element("dt", {}, name),
    element("dd", {}, value, element("span", { className: "unit" }, ` ${unit}`)),
    peak,
    chart.root,
  );
  const draw = (points) => {
    value.textContent = shown(points.at(-1)[key], digits);
    const most = Math.max(0, ...points.map((point) => point[key] ?? 0));
    peak.textContent = most ? `peak ${shown(most, digits)}` : "";
    chart.draw(points.map(({ at, ...point }) => [at, point[key]]), most);
  };
  return { root, draw };
}

function makeChart() {
  const root = document.createElementNS(SVG, "svg");
  root.setAttribute("viewBox", `0 0 ${HISTORY_S} 1`);
  root.setAttribute("preserveAspectRatio", "none");
  root.setAttribute("aria-hidden", "true");
  const [area, line] = ["area", "line"].map((name) => {
    const path = root.appendChild(document.createElementNS(SVG, "path"));
    path.setAttribute("class", name);
    return path;
  });
  const draw = (points, most) => {
    const end = points.at(-1)[0];
    const parts = runs(points).map((run) =>
      run.map(([at, y]) => [(HISTORY_S - end + at).toFixed(2), (1 - y / (most || 1)).toFixed(4)]),
    );
    const lines = parts.map((part) => part.map(([x, y]) => `${x} ${y}`).join("L"));
    line.setAttribute("d", lines.map((path) => `M${path}`).join(""));
    const closed = lines.map((path, i) => `M${parts[i][0][0]} 1L${path}L${parts[i].at(-1)[0]} 1Z`);
    area.setAttribute("d", closed.join(""));
  };
  return { root, draw };
}

/** Stretches without a gap: nothing measured, or nobody looked. */
function runs(points) {
  const found = [];
  let run = [];
  for (const point of points) {
    if (point[1] === null || (run.length && point[0] - run.at(-1)[0] > 3)) {
      if (run.length) found.push(run);
      run = [];
    }
    if (point[1] !== null) run.push(point);
  }
  return run.length ? [...found, run] : found;
}

function makeRow(name) {
  const cells = COLUMNS.map(() => element("td", {}, NONE));
  const root = element("tr", {}, element("th", { scope: "row" }, name), ...cells);
  const draw = (values, of) =>
    COLUMNS.forEach((column, i) => (cells[i].textContent = column(values, of)));
  return { root, draw };
}

/** A number for people, with its unit if there is a number. */
export function shown(value, digits, unit = "") {
  if (value === null || value === undefined) return NONE;
  const places = value >= 100 ? 0 : digits;
  const options = { minimumFractionDigits: places, maximumFractionDigits: places };
  return value.toLocaleString("en", options) + unit;
}
