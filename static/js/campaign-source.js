// Where a campaign's images come from: shows what belongs to the chosen source, and sends a file or a folder.

import { tarOf } from "./tar.js";
import { Upload, UploadRefused } from "./upload.js";

const MEGABYTE = 1e6;

const box = document.querySelector("[data-source]");
const upload = box.querySelector("[data-upload]");
const form = box.closest("form");
const texts = JSON.parse(document.getElementById("upload-texts").textContent);
const find = (name) => upload.querySelector(`[data-upload-${name}]`);

let sending = null;

box.addEventListener("change", showChosen);
find("file").addEventListener("change", ({ target }) => target.files[0] && send(target.files[0], target.files[0].name));
find("folder").addEventListener("change", ({ target }) => sendFolder(target.files));
find("stop").addEventListener("click", () => sending?.stop());
form.addEventListener("submit", (event) => {
  if (!sending || chosen() !== "upload") return;
  event.preventDefault();
  say(texts.wait);
});
showChosen();

function chosen() {
  return box.querySelector("[name=source]:checked")?.value;
}

function showChosen() {
  for (const part of box.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(chosen());
}

function sendFolder(files) {
  if (!files.length) return say(texts.empty);
  const folder = files[0].webkitRelativePath.split("/")[0] || "folder";
  send(tarOf(files), `${folder}.tar`);
}

async function send(blob, name) {
  sending?.stop();
  form.elements.upload.value = "";
  if (!crypto.subtle) return say(texts.not_secure);
  say(texts.looking);
  find("stop").hidden = false;
  const mine = new Upload({
    blob,
    name,
    begin: upload.dataset.begin,
    csrfToken: form.elements.csrfmiddlewaretoken.value,
    onProgress: showProgress,
    onWaiting: (code) => say(texts[code]),
  });
  sending = mine;
  try {
    form.elements.upload.value = await mine.send();
    if (sending === mine) say(texts.sent.replace("{name}", name));
  } catch (error) {
    if (sending === mine) say(error instanceof UploadRefused ? texts.failed.replace("{detail}", error.message) : texts.stopped);
  } finally {
    if (sending === mine) {
      sending = null;
      find("stop").hidden = true;
    }
  }
}

function showProgress(done, size) {
  find("meter").max = size;
  find("meter").value = done;
  const inMegabytes = (bytes) => (bytes / MEGABYTE).toFixed(size < 100 * MEGABYTE ? 1 : 0);
  say(texts.sending.replace("{done}", inMegabytes(done)).replace("{size}", inMegabytes(size)));
}

function say(text) {
  find("progress").hidden = false;
  find("status").textContent = text;
}
