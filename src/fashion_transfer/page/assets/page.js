// The upload area: files from the chooser, a drop, the clipboard, the camera and the examples.
// Gradio gives: element, trigger, props, upload, watch.

const part = (selector) => element.querySelector(selector);
const zone = part(".ft-drop");
const input = part(".ft-input");
const status = part(".ft-status");
const camera = part(".ft-camera");
const maximum = Number(zone.dataset.maximum);
const megabytes = Number(zone.dataset.megabytes);
const SETS = 3; // sets of pictures that can still be flagged
const sent = new Map(); // files by set

const results = () => document.getElementById("ft-results");

const SILENT = "The server does not respond: is it still running?";

function plain(error) {
  const text = String((error && error.message) || error).replace(/^HTTP \d+: ?/, "");
  return /fetch|network|connection/i.test(text) ? SILENT : text;
}

async function sendOne(file) {
  if (file.size > megabytes * 1e6) {
    return { name: file.name, error: `it is too large: pictures are read up to ${megabytes} MB` };
  }
  try {
    return { upload: (await upload(file)).path };
  } catch (error) {
    return { name: file.name, error: plain(error) };
  }
}

async function send(chosen) {
  const files = [...chosen];
  if (!files.length) return;
  if (files.length > maximum) {
    status.textContent = `These are ${files.length} pictures: choose at most ${maximum}.`;
    return;
  }
  status.textContent = files.length > 1 ? `Sending ${files.length} pictures …` : "Sending the picture …";
  const set = Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
  sent.set(set, files);
  if (sent.size > SETS) sent.delete(sent.keys().next().value);
  const values = await Promise.all(files.map(sendOne));
  if (values.every((value) => value.error === SILENT)) {
    status.textContent = SILENT;
    return;
  }
  props.value = { set, files: values };
  status.textContent = "Looking …";
  trigger("submit");
}

// ---- choosing, dropping, pasting

input.addEventListener("change", () => {
  const files = [...input.files];
  input.value = ""; // so that the same file can be chosen again
  send(files);
});
let depth = 0; // of elements that a drag has entered
const marked = (on) => zone.classList.toggle("ft-over", on);
window.addEventListener("dragenter", () => marked(++depth > 0));
window.addEventListener("dragleave", () => marked(--depth > 0));
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  marked(false);
  send(event.dataTransfer.files);
});
window.addEventListener("paste", (event) => send(event.clipboardData.files));

// ---- examples

for (const button of element.querySelectorAll(".ft-example")) {
  button.addEventListener("click", () => {
    const [head, content] = button.querySelector("img").src.split(",");
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    send([new File([bytes], button.dataset.name, { type: head.slice(5).split(";")[0] })]);
  });
}

// ---- the camera, where the browser lets a page use it; a phone's own chooser offers it anyway

const video = camera.querySelector("video");
const trouble = part(".ft-camera-error");
const closeCamera = () => {
  for (const track of video.srcObject ? video.srcObject.getTracks() : []) track.stop();
  video.srcObject = null;
  if (camera.open) camera.close();
};
if (navigator.mediaDevices && !matchMedia("(pointer: coarse)").matches) {
  part(".ft-open-camera").hidden = false;
}
part(".ft-open-camera").addEventListener("click", async () => {
  trouble.textContent = "";
  camera.classList.remove("ft-no-camera");
  part(".ft-shoot").disabled = true;
  camera.showModal();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
    video.srcObject = stream;
    if (!camera.open) return closeCamera(); // closed while the browser asked
    part(".ft-shoot").disabled = false;
  } catch (error) {
    camera.classList.add("ft-no-camera");
    const denied = error && error.name === "NotAllowedError";
    trouble.textContent = denied ? "The browser does not let this page use the camera." : "There is no camera.";
  }
});
part(".ft-close-camera").addEventListener("click", closeCamera);
camera.addEventListener("close", closeCamera);
part(".ft-shoot").addEventListener("click", () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => {
    closeCamera();
    if (blob) send([new File([blob], "camera.jpg", { type: "image/jpeg" })]);
  }, "image/jpeg", 0.92);
});

// ---- flagging a prediction

document.addEventListener("click", (event) => {
  const area = results();
  if (!area || !area.contains(event.target)) return;
  const button = event.target.closest(".ft-wrong");
  if (button) openForm(button);
  const store = event.target.closest(".ft-store");
  if (store) flag(store.closest(".ft-form"));
});

function openForm(button) {
  if (button.nextElementSibling) {
    button.nextElementSibling.remove();
    return;
  }
  const form = part(".ft-form-template").content.firstElementChild.cloneNode(true);
  form.dataset.picture = button.dataset.picture;
  button.after(form);
  form.querySelector("select").focus();
}

async function flag(form) {
  const [set, row] = form.dataset.picture.split("/");
  const file = (sent.get(set) || [])[row];
  const text = form.querySelector(".ft-stored");
  if (!file) {
    text.textContent = "This picture is no longer here: send it again.";
    return;
  }
  form.querySelector(".ft-store").disabled = true;
  text.textContent = "Saving …";
  const value = await sendOne(file);
  if (value.error) {
    text.textContent = `Not saved: ${value.error}`;
    form.querySelector(".ft-store").disabled = false;
    return;
  }
  props.value = { picture: form.dataset.picture, label: form.querySelector("select").value, file: value };
  trigger("wrong");
}

// ---- what the server sends back

window.addEventListener("ft-failed", async () => {
  try {
    await fetch("gradio_api/startup-events", { cache: "no-store" });
    status.textContent = "There is no prediction: try again in a minute.";
  } catch {
    status.textContent = SILENT;
  }
});

watch("value", () => {
  const value = props.value || {};
  if (value.shown !== undefined) {
    status.textContent = "";
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const show = () => results().scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
    setTimeout(show, 100); // the cards are drawn after this
  }
  if (value.flagged !== undefined) {
    const forms = [...document.querySelectorAll(".ft-form")];
    const form = forms.find((one) => one.dataset.picture === value.flagged);
    if (!form) return;
    form.querySelector(".ft-stored").textContent = value.text;
    form.querySelector(".ft-store").disabled = value.stored;
    if (value.stored) form.querySelector(".ft-store").hidden = true;
  }
});
