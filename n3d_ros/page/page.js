// All that comes from the robot is shown as text, never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);
const GONE = "the page's node does not answer: is it still running?";
const numbers = (values) => values.map((value) => value.toFixed(2)).join(", ");

function say(id, text, problem = false) {
  byId(id).textContent = text;
  byId(id).classList.toggle("problem", problem);
}

// What the camera does; where there is no image yet, this stands in its place.
function sayCamera(text, sees) {
  say("camera", text, !sees);
  say("waiting", sees ? "" : text);
}

let camera = ""; // the namespace of the one that is shown and asked, as "/front"
const at = (name) => `${camera}/${name}`;

function showViewer() {
  // The viewer follows the stream of this server; its address must be absolute.
  byId("viewer").src = "/viewer/?url=" + encodeURIComponent(location.origin + at("scene.rrd"));
  byId("viewer").hidden = false;
  byId("picture").hidden = true;
}

// Until the viewer is there, or where there is none, the picture takes its place.
async function seekViewer() {
  const reply = await fetch("/viewer/").catch(() => null);
  if (reply && reply.ok) {
    showViewer();
    say("why", "");
    return;
  }
  if (reply) say("why", (await reply.json()).error);
  setTimeout(seekViewer, 3000);
}

function chooseCamera(name) {
  camera = name;
  say("state", "");
  sayCamera("", true);
  say("model", "");
  clearAnswer();
  byId("picture").removeAttribute("src");
  showBoxes([]);
  if (!byId("viewer").hidden) showViewer();
}

async function listCameras() {
  const { cameras } = await (await fetch("/cameras")).json();
  byId("cameras").replaceChildren(...cameras.map((name) => new Option(name, name)));
  byId("cameras").hidden = cameras.length < 2;
  chooseCamera(cameras[0]);
}

function showBoxes(boxes) {
  byId("found").hidden = !boxes.length;
  byId("boxes").replaceChildren(
    ...boxes.map((box) => {
      const row = document.createElement("tr");
      for (const text of [box.label, box.score.toFixed(2), numbers(box.center), numbers(box.size)]) {
        const cell = row.insertCell();
        cell.dir = "auto";
        cell.textContent = text;
      }
      return row;
    }),
  );
}

function showWarnings(warnings) {
  byId("warnings").replaceChildren(
    ...warnings.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }),
  );
}

function showReasoning(text, open) {
  say("reasoning", text);
  byId("thought").hidden = !text;
  byId("thought").open = open;
}

function showAnswer(reply) {
  byId("answer").hidden = !reply.answer && !reply.verdict;
  say("answer-text", reply.answer);
  say("verdict", reply.verdict.replace("_", " "));
  byId("verdict").className = `badge ${reply.verdict}`;
  byId("verdict").hidden = !reply.verdict;
  const other = reply.said && reply.said !== reply.answer;
  say("said", other ? `The model said: ${reply.said}` : "");
  byId("said").hidden = !other;
  say("verdict-reason", reply.verdict_reason);
  showReasoning(reply.reasoning, false);
}

function clearAnswer() {
  byId("answer").hidden = true;
  showWarnings([]);
  showAnswer({ answer: "", said: "", verdict: "", verdict_reason: "", reasoning: "" });
}

let asking = false;

// Boxes and text as they are decoded.
async function followProgress() {
  while (asking) {
    const status = await (await fetch(at("status"))).json().catch(() => ({}));
    if (asking && status.progress) {
      say("state", `${status.progress.stage || "asking"} …`);
      showReasoning(status.progress.text, true);
      byId("answer").hidden = !status.progress.text;
      showBoxes(status.progress.boxes);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function ask(mode) {
  const controls = document.querySelectorAll("button, select");
  const focused = document.activeElement; // a control that is disabled loses the keyboard
  controls.forEach((control) => (control.disabled = true));
  asking = true;
  clearAnswer();
  say("state", "asking …");
  followProgress().catch(() => {}); // the answer itself tells what is wrong
  try {
    const body = JSON.stringify({ text: byId("text").value, mode });
    const reply = await (
      await fetch(at("ask"), { method: "POST", headers: { "Content-Type": "application/json" }, body })
    ).json();
    asking = false;
    if (reply.error) {
      say("state", reply.error, true);
    } else {
      const note = reply.message ? `: ${reply.message}` : "";
      say("state", `${reply.status}${note} (${Math.round(reply.milliseconds)} ms)`, reply.status !== "OK");
      showWarnings(reply.warnings);
      showAnswer(reply);
      showBoxes(reply.boxes);
    }
  } catch (problem) {
    say("state", `the page's node does not answer (${problem.message}): is it still running?`, true);
  }
  asking = false;
  controls.forEach((control) => (control.disabled = false));
  if (document.activeElement === document.body) focused.focus();
}

async function refresh() {
  const shown = camera;
  try {
    const status = await (await fetch(at("status"))).json();
    if (shown === camera) showStatus(status);
  } catch {
    sayCamera(GONE, false);
  }
  setTimeout(refresh, 1000);
}

function showStatus(status) {
  sayCamera(status.camera, status.sees);
  say("model", status.model);
  if (!asking) showBoxes(status.boxes);
  if (status.sees && !byId("picture").hidden) byId("picture").src = `${at("image.jpg")}?${Date.now()}`;
}

async function begin() {
  try {
    await listCameras();
  } catch {
    sayCamera(GONE, false);
    setTimeout(begin, 1000);
    return;
  }
  seekViewer();
  refresh();
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(event.submitter ? event.submitter.value : "ground");
});
byId("cameras").addEventListener("change", () => chooseCamera(byId("cameras").value));
begin();
