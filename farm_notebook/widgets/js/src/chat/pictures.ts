/** Pictures that are pasted, dropped or chosen: made small enough to travel, and ready to be sent. */

/** Models look at no more of a picture than that. */
const SIDE_PX = 2_048;

/** A file above that is written anew, smaller. */
const LARGE_BYTES = 1_500_000;

/** All pictures of one question: a message to the kernel may have 10 MB. */
const TOTAL_CHARS = 8_000_000;

const MOST = 8;
const TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/** A picture that waits to be sent. */
export interface Attached {
  name: string;
  /** The file as Base64. */
  data: string;
  /** The same for an `<img>`. */
  url: string;
}

/** What there is among files, with a line on what could not be taken; `before` are those that wait already. */
export async function readPictures(
  files: Iterable<File>,
  before: readonly Attached[] = [],
): Promise<{ pictures: Attached[]; problem: string }> {
  const pictures: Attached[] = [];
  let problem = "";
  for (const file of files) {
    if (before.length + pictures.length >= MOST) {
      problem = `At most ${MOST} pictures go with one question.`;
      break;
    }
    const read = await readPicture(file);
    if (typeof read === "string") problem = read;
    else if (chars([...before, ...pictures, read]) > TOTAL_CHARS) problem = `${file.name} is too large to go with the others.`;
    else pictures.push(read);
  }
  return { pictures, problem };
}

async function readPicture(file: File): Promise<Attached | string> {
  const name = file.name || "picture";
  if (!TYPES.includes(file.type)) return `${name} is no picture that models take: PNG, JPEG, GIF or WebP.`;
  try {
    const url = await asDataUrl(await smaller(file));
    return { name, url, data: url.slice(url.indexOf(",") + 1) };
  } catch {
    return `${name} cannot be read as a picture.`;
  }
}

/** The same picture in fewer bytes, where it is large in bytes or on the screen. */
async function smaller(file: File): Promise<Blob> {
  if (typeof createImageBitmap === "undefined") return file;
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, SIDE_PX / Math.max(bitmap.width, bitmap.height));
  if (scale === 1 && file.size <= LARGE_BYTES) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext("2d");
  if (!pen) return file;
  pen.fillStyle = "#ffffff"; // JPEG has no transparency
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? file), "image/jpeg", 0.9));
}

function asDataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error("unreadable"));
    reader.readAsDataURL(blob);
  });
}

function chars(all: readonly Attached[]): number {
  return all.reduce((sum, { data }) => sum + data.length, 0);
}
