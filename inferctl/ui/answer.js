// Shows what came back: boxes, labels, tensors, an error; and where the time went.

import { element } from "./figures.js";

const HUES = 8; // as many as colours.css has
const PHASES = ["decode", "queue", "inference", "postprocess"];
const SPOKEN = 5; // labels that are read aloud; all are in the list

export const at = (id) => document.getElementById(id);

/** Clears the answer before; `prompt` says what comes next. */
export function forget(prompt) {
  at("verdict").replaceChildren(element("span", { className: "prompt" }, prompt));
  for (const id of ["results", "boxes", "raw"]) at(id).replaceChildren();
  for (const id of ["problem", "raw", "timing", "curl"]) at(id).hidden = true;
}

/** A problem in its one line; `status` is missing where no server said it. */
export function refuse({ status, title, detail, hint }) {
  const head = element("strong", {}, [status, title].filter(Boolean).join(" "));
  at("problem").replaceChildren(head, ` ${detail}`, ...(hint ? [`; ${hint}`] : []));
  at("problem").hidden = false;
}

/** The prediction of a model, by what it holds. */
export function show(content, { labels }) {
  if (content.detections) showDetections(content.detections, labels);
  else if (content.predictions) showScores(content, content.predictions);
  else if (content.scores) showScores(content, ranked(content.scores));
  else showJson(content);
}

const ranked = (scores) =>
  Object.entries(scores)
    .map(([label, score]) => ({ label, score }))
    .sort((a, b) => b.score - a.score);

const digits = (score) => (score > 0 && score < 0.01 ? "< 0.01" : score.toFixed(2));

/** The answer's headline; `spoken` is added for those who hear it. */
function pronounce(verdict, note, spoken) {
  at("verdict").replaceChildren(
    verdict,
    element("span", { className: "verdict-note" }, ` ${note}`),
    element("span", { className: "unseen" }, spoken),
  );
}

function showDetections(detections, labels) {
  const count = detections.length;
  const named = detections.slice(0, SPOKEN).map((each) => `${each.label} ${digits(each.confidence)}`);
  const least = at("threshold-value").value;
  if (count) pronounce(`${count} ${count === 1 ? "object" : "objects"}`, "", `: ${named.join(", ")}`);
  else pronounce("No object", `of confidence ${least} or more`, "");
  const { naturalWidth: width, naturalHeight: height } = at("picture");
  for (const { label, confidence, bbox } of detections) {
    const [x1, y1, x2, y2] = bbox.map(Math.round);
    const box = makeBox(label, confidence, bbox, width, height);
    const row = makeBar(label, confidence, `${x1}, ${y1} – ${x2}, ${y2}`);
    for (const part of [box, row]) {
      part.dataset.hue = Math.max(0, labels.indexOf(label)) % HUES;
      part.addEventListener("pointerenter", () => light(true, box, row));
      part.addEventListener("pointerleave", () => light(false, box, row));
    }
    at("boxes").append(box);
    at("results").append(row);
  }
}

const light = (on, ...parts) => parts.forEach((part) => part.classList.toggle("lit", on));

/** A box in percent of the picture, so that it stays in place at every size of the window. */
function makeBox(label, confidence, [x1, y1, x2, y2], width, height) {
  const tag = element("span", { className: "tag" }, `${label} ${digits(confidence)}`);
  const box = element("div", { className: "box" }, tag);
  const percent = (value, whole) => `${(100 * value) / whole}%`;
  box.style.left = percent(x1, width);
  box.style.top = percent(y1, height);
  box.style.width = percent(x2 - x1, width);
  box.style.height = percent(y2 - y1, height);
  box.classList.toggle("tag-inside", y1 / height < 0.07);
  box.classList.toggle("tag-right", x1 / width > 0.75);
  return box;
}

function makeBar(label, score, note = "") {
  const fill = element("span", { className: "fill" });
  fill.style.width = `${100 * score}%`;
  return element(
    "li",
    { className: "bar" },
    element("span", { className: "bar-label" }, label),
    element("span", { className: "bar-note" }, note),
    element("span", { className: "bar-score" }, digits(score)),
    element("span", { className: "track", ariaHidden: "true" }, fill),
  );
}

function showScores({ label, score }, predictions) {
  pronounce(label, digits(score), "");
  at("results").append(...predictions.map((each) => makeBar(each.label, each.score)));
}

function showJson(content) {
  pronounce("Answered", "", "");
  at("raw").textContent = compactJson(content);
  at("raw").hidden = false;
}

/** JSON with every innermost list on a line of its own. */
export function compactJson(content) {
  const folded = (list) => list.replace(/\s+/g, " ").replace("[ ", "[").replace(" ]", "]");
  return JSON.stringify(content, null, 1).replace(/\[[^[\]{}"]*\]/g, folded);
}

/** Where the time went: the server's own account, and what lies around it. */
export function showTiming(header, tookMs) {
  const spent = [...header.matchAll(/(\w+);dur=([\d.]+)/g)].map(([, name, ms]) => [name, Number(ms)]);
  const parts = spent.filter(([name]) => PHASES.includes(name));
  const restMs = tookMs - parts.reduce((sum, [, ms]) => sum + ms, 0);
  parts.push(["connection and rest", Math.max(0, restMs)]);
  const phase = (name) => (PHASES.includes(name) ? PHASES.indexOf(name) : "rest");
  const bar = parts.map(([name, ms]) => {
    const part = element("span", { data: { phase: phase(name) } });
    part.style.flexGrow = ms;
    return part;
  });
  at("phases-bar").replaceChildren(...bar);
  const entries = parts.map(([name, ms]) => entry(name, ms, phase(name)));
  at("phases").replaceChildren(...entries, entry("round trip", tookMs, "all"));
  at("timing").hidden = false;
}

function entry(name, ms, phase) {
  const value = element("dd", {}, `${ms.toFixed(1)} ms`);
  return element("div", { data: { phase } }, element("dt", {}, name), value);
}
