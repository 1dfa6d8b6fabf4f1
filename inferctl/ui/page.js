// Asks the models: one picture, text or tensor at a time.

import { at, forget, compactJson, refuse, show, showTiming } from "./answer.js";
import { element, everySecondInView, shown, watch } from "./figures.js";
import { listenForPictures, picture } from "./picture.js";

const HEALTH_EVERY_MS = 5000;
const MOST_LABELS = 8; // that are named

const TASKS = {
  "image-detection": { panel: "image", option: "threshold" },
  "image-classification": { panel: "image", option: "top-k" },
  "text-classification": { panel: "text" },
};
// The example says what a request looks like, whatever the task.
const ANY_TASK = { panel: "json" };
const NOT_ASKED = { image: "Give it an image", text: "Ask about a text", json: "Send it a request" };

let models = [];
let model = null; // the chosen one
let health = null;
let asking = new AbortController();

const task = () => TASKS[model.task] ?? ANY_TASK;

// ---------------------------------------------------------------------------------- the models

async function start() {
  const answer = await fetch("models");
  models = (await answer.json()).models;
  at("models").replaceChildren(...models.map(makeChip));
  const named = decodeURIComponent(location.hash.slice(1));
  choose(models.find((m) => m.name === named) ?? models.find((m) => m.default) ?? models[0]);
  watch(models.map(({ name }) => name), () => new Map(Object.entries(health?.models ?? {})));
}

function makeChip(each) {
  const radio = element("input", { type: "radio", name: "model", value: each.name });
  radio.addEventListener("change", () => choose(each));
  return element(
    "label",
    { className: "chip" },
    radio,
    element("span", { className: "chip-name" }, each.name),
    element("span", { className: "chip-task" }, each.task.replace("-", " ")),
  );
}

function choose(chosen) {
  model = chosen;
  history.replaceState(null, "", `#${encodeURIComponent(model.name)}`);
  at("models").querySelector(`[value="${CSS.escape(model.name)}"]`).checked = true;
  at("about").textContent = about(model);
  for (const panel of ["image", "text", "json"]) at(`${panel}-panel`).hidden = panel !== task().panel;
  for (const option of ["threshold", "top-k"]) at(`${option}-field`).hidden = option !== task().option;
  at("file").accept = model.content_types.filter((type) => type.startsWith("image/")).join();
  if (task().panel === "text") at("text").value = model.example.text;
  if (task().panel === "json") at("json").value = compactJson(model.example);
  asking.abort();
  forget(NOT_ASKED[task().panel]);
  if (task().panel === "image" && picture) ask();
}

function about({ task: name, version, precision, labels, limits, default: answersAll }) {
  const limit = {
    image: `images up to ${shown(limits.max_pixels / 1e6, 0)} megapixels`,
    text: `up to ${shown(limits.max_text_chars, 0)} characters`,
    json: `up to ${shown(limits.max_rows, 0)} rows`,
  };
  const more = labels.length > MOST_LABELS ? ` and ${labels.length - MOST_LABELS} more` : "";
  return [
    `${name}, version ${version}, ${precision}`,
    ...(labels.length ? [`labels ${labels.slice(0, MOST_LABELS).join(", ")}${more}`] : []),
    limit[(TASKS[name] ?? ANY_TASK).panel],
    ...(answersAll ? ["answers /predict too"] : []),
  ].join(" · ");
}

// --------------------------------------------------------------------------------- the request

/** What is sent: path, content type, body, and the body as curl would be told it. */
function request() {
  const path = `models/${encodeURIComponent(model.name)}/predict`;
  if (task().panel === "image") {
    const option = task().option === "threshold" ? "confidence_threshold" : "top_k";
    const query = new URLSearchParams({ [option]: at(task().option).value });
    const data = ["--data-binary", `@${picture.name}`];
    return { path: `${path}?${query}`, type: picture.blob.type, body: picture.blob, data };
  }
  const body = task().panel === "text" ? JSON.stringify({ text: at("text").value }) : at("json").value;
  return { path, type: "application/json", body, data: ["--data-raw", body] };
}

function curl({ path, type, data }) {
  const url = new URL(path, document.baseURI).href;
  const lines = [["curl", "-sS", url], ["-H", `Content-Type: ${type}`], data];
  const written = lines.map((words) => words.map(quoted).join(" "));
  // The page does not know the key: the browser asked for it.
  if (document.documentElement.dataset.keyed === "True")
    written.splice(1, 0, '-H "Authorization: Bearer $INFERCTL_API_KEY"');
  return written.join(" \\\n  ");
}

/** A word as a POSIX shell reads it back. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

async function ask() {
  if (task().panel === "image" && !picture) return at("file").click();
  asking.abort();
  const { signal } = (asking = new AbortController());
  const sent = request();
  at("answer").setAttribute("aria-busy", "true");
  const begun = performance.now();
  try {
    const headers = { "Content-Type": sent.type };
    const answer = await fetch(sent.path, { method: "POST", headers, body: sent.body, signal });
    const content = await answer.json();
    const tookMs = performance.now() - begun;
    if (signal.aborted) return;
    forget("");
    if (answer.ok) show(content, model);
    else refuse(content);
    showTiming(answer.headers.get("Server-Timing") ?? "", tookMs);
  } catch (error) {
    if (signal.aborted) return;
    forget("");
    refuse({
      title: "no answer",
      detail: `the connection broke off (${error.message})`,
      hint: "is the service up, and the body within server.max_body_bytes?",
    });
  }
  at("answer").setAttribute("aria-busy", "false");
  at("curl-line").textContent = curl(sent);
  at("curl").hidden = false;
}

// ---------------------------------------------------------------------------------- the health

async function showHealth() {
  try {
    health = await (await fetch("health", { cache: "no-store" })).json();
  } catch {
    health = null;
  }
  const said = health?.status ?? "unreachable";
  at("state").dataset.state = said;
  // What is read aloud when it changes is not to change without need.
  if (at("state").textContent !== said) at("state").textContent = said;
  at("uptime").textContent = health ? `for ${duration(health.uptime_s)}` : "";
  const restarts = health?.engine_restarts ? [`the engine was started again ${health.engine_restarts} ×`] : [];
  const warnings = [...(health?.warnings ?? []), ...restarts];
  if ([...at("warnings").children].map((li) => li.textContent).join() !== warnings.join())
    at("warnings").replaceChildren(...warnings.map((text) => element("li", {}, text)));
}

/** Seconds in the largest unit that is not small. */
function duration(seconds) {
  for (const [unit, long] of [["d", 86400], ["h", 3600], ["min", 60]])
    if (seconds >= 2 * long) return `${Math.floor(seconds / long)} ${unit}`;
  return `${Math.floor(seconds)} s`;
}

async function copyCurl() {
  try {
    await navigator.clipboard.writeText(at("curl-line").textContent);
  } catch {
    // Without TLS a browser gives the clipboard to localhost alone.
    getSelection().selectAllChildren(at("curl-line"));
    document.execCommand("copy");
  }
  at("copy").textContent = "Copied";
  setTimeout(() => (at("copy").textContent = "Copy"), 2000);
}

function listen() {
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  at("ask").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
  });
  at("threshold").addEventListener("input", () => {
    at("threshold-value").textContent = Number(at("threshold").value).toFixed(2);
  });
  for (const option of ["threshold", "top-k"])
    at(option).addEventListener("change", () => picture && ask());
  at("copy").addEventListener("click", copyCurl);
  listenForPictures(() => task().panel === "image", ask);
}

listen();
everySecondInView(showHealth, HEALTH_EVERY_MS);
start().catch((error) => {
  refuse({ title: "not started", detail: error.message, hint: "is the service up? Reload the page" });
});
