// The picture that is asked about: chosen, dropped or pasted, and shown upright.

import { at } from "./answer.js";
import { element } from "./figures.js";

const ORIENTATION = 0x0112; // the EXIF tag
// By orientation: the matrix that makes a picture of w x h upright.
const TURNS = {
  2: (w) => [-1, 0, 0, 1, w, 0],
  3: (w, h) => [-1, 0, 0, -1, w, h],
  4: (w, h) => [1, 0, 0, -1, 0, h],
  5: () => [0, 1, 1, 0, 0, 0],
  6: (w, h) => [0, 1, -1, 0, h, 0],
  7: (w, h) => [0, -1, -1, 0, h, w],
  8: (w) => [0, -1, 1, 0, 0, w],
};

export let picture = null; // {blob, name}: what is sent

/** Takes pictures from now on, while they are `wanted`; `taken` is called when one is shown. */
export function listenForPictures(wanted, taken) {
  const take = (file, name = file?.name) => file && wanted() && show(file, name, taken);
  at("file").addEventListener("change", () => take(at("file").files[0]));
  document.addEventListener("paste", ({ clipboardData }) => {
    const file = firstImage(clipboardData);
    take(file, file?.name || "pasted.png");
  });
  // Anywhere on the page: a file dropped beside its zone would make the browser leave the page.
  const ofFiles = (call) => (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    call(event.dataTransfer);
  };
  const mark = (over) => at("drop").classList.toggle("over", over);
  document.addEventListener("dragover", ofFiles(() => mark(true)));
  document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || mark(false));
  document.addEventListener("drop", ofFiles((transfer) => {
    mark(false);
    take(firstImage(transfer));
  }));
}

function firstImage({ files }) {
  return [...files].find((file) => file.type.startsWith("image/")) ?? files[0];
}

async function show(blob, name, taken) {
  const own = (picture = { blob, name });
  at("boxes").replaceChildren();
  const shown = await load(blob);
  // Of several in quick succession the last one counts.
  if (picture !== own) return;
  frame(shown, name);
  taken();
}

/** Loads it into the page; whether the browser could. */
async function load(blob) {
  const image = at("picture");
  try {
    const url = URL.createObjectURL(await upright(blob));
    URL.revokeObjectURL(image.src);
    image.src = url;
    await image.decode();
    return true;
  } catch {
    return false; // the server may still have a word for it
  }
}

function frame(shown, name) {
  const { naturalWidth: width, naturalHeight: height } = at("picture");
  at("picture").alt = name;
  at("frame").style.setProperty("--width", width);
  at("frame").style.setProperty("--height", height);
  at("frame").hidden = !shown;
  at("invitation").hidden = shown;
  at("drop").classList.toggle("full", shown);
  const text = shown ? `${name}, ${width} × ${height}` : `${name} cannot be shown`;
  at("file-name").replaceChildren(text, element("span", { className: "link" }, "choose another"));
}

/** Browsers turn a JPEG and a PNG as its EXIF says, which is how the server counts their pixels.
 * The server turns a WebP too, and Chromium does not. */
async function upright(blob) {
  const turn = blob.type === "image/webp" && TURNS[webpOrientation(await blob.arrayBuffer())];
  if (!turn) return blob;
  const bitmap = await createImageBitmap(blob, { imageOrientation: "none" });
  const { width, height } = bitmap;
  const sides = turn(width, height)[0] === 0 ? [height, width] : [width, height];
  const canvas = new OffscreenCanvas(...sides);
  const context = canvas.getContext("2d");
  context.setTransform(...turn(width, height));
  context.drawImage(bitmap, 0, 0);
  return canvas.convertToBlob();
}

/** The orientation in a WebP's EXIF chunk; 1 where there is none, or a damaged one. */
function webpOrientation(buffer) {
  const view = new DataView(buffer);
  const word = (place) => String.fromCharCode(...new Uint8Array(buffer, place, 4));
  try {
    for (let place = 12; place + 8 <= buffer.byteLength; ) {
      const bytes = view.getUint32(place + 4, true);
      const start = place + 8;
      if (word(place) === "EXIF")
        return tiffOrientation(new DataView(buffer, start + (word(start) === "Exif" ? 6 : 0)));
      place = start + bytes + (bytes % 2);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return 1;
}

function tiffOrientation(view) {
  const little = view.getUint8(0) === 0x49; // "II", else "MM"
  const directory = view.getUint32(4, little);
  for (let entry = 0; entry < view.getUint16(directory, little); entry += 1) {
    const place = directory + 2 + 12 * entry;
    if (view.getUint16(place, little) === ORIENTATION) return view.getUint16(place + 8, little);
  }
  return 1;
}
