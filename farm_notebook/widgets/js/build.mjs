/** Bundles each of `src/entries` into one script and one stylesheet in `../static` that load nothing else.
 *
 * With names it bundles only these: `npm run build -- health`.
 */

import { build } from "esbuild";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const into = join(here, "..", "static");
const fresh = join(here, "..", `static-${process.pid}`); // until it is whole
const names = process.argv.slice(2).map((name) => `${name}.tsx`);
const entries = names.length ? names : await readdir(join(here, "src", "entries"));

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: entries.map((name) => `src/entries/${name}`),
  outdir: fresh,
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  charset: "utf8",
  legalComments: "none", // the licences are in a file of their own, whole
  define: { "process.env.NODE_ENV": '"production"' },
  metafile: true,
  logLevel: "warning",
});

for (const [path, output] of Object.entries(metafile.outputs)) {
  const outside = output.imports.filter((each) => each.external).map((each) => each.path);
  if (outside.length) throw new Error(`${path} would load ${outside.join(", ")} when it is shown`);
  console.log(`    ${basename(path).padEnd(16)} ${(output.bytes / 1e3).toFixed(1).padStart(7)} kB`);
}
if (!names.length) await writeFile(join(fresh, "LICENSES.txt"), await licences(Object.keys(metafile.inputs)));
await mkdir(into, { recursive: true });
const made = await readdir(fresh);
for (const name of made) await rename(join(fresh, name), join(into, name));
await rm(fresh, { recursive: true });
if (!names.length) {
  for (const name of await readdir(into)) if (!made.includes(name)) await rm(join(into, name));
}

/** The licences of the packages that went into the scripts. */
async function licences(inputs) {
  const names = inputs.map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean);
  const texts = [...new Set(names)].sort().map(async (name) => {
    const folder = join(here, "node_modules", name);
    const files = (await readdir(folder)).filter((file) => /^licen[cs]e/i.test(file));
    if (!files.length) throw new Error(`the package ${name} has no licence file`);
    const whole = await Promise.all(files.map((file) => readFile(join(folder, file), "utf8")));
    return `${name}\n${"-".repeat(name.length)}\n\n${whole.join("\n\n").trim()}\n`;
  });
  return (await Promise.all(texts)).join("\n\n");
}
