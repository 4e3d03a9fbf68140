// Builds `src/` into `../tailtrace_api/static/`: what is served, and shipped in the wheel.
//
// | source | becomes | named |
// |---|---|---|
// | src/dashboard/{main,theme}.js, style/main.css | static/assets/ | with a hash: kept by browsers for good; what main.js imports later (Chart.js) is a file of its own |
// | src/dashboard/index.html | static/index.html | its `@main.js@` and the like replaced by those names |
// | src/login/ | static/login/ | as it is: the page of a login link, which loads nothing else |
// | each of FIXED | static/… | as it says: others link to it; a `.css` that it imports is a text, minified |
//
// All of it is built beside what is served, and takes its place at once: a server that runs meanwhile has one or the other.
//
// Beside each file stands its `.gz`. A page and all it loads may weigh PAGE_BYTES_MAX packed, and what FIXED names COMPONENT_BYTES_MAX each, or
// the build fails.

import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";

const PAGE_BYTES_MAX = 100_000;
const COMPONENT_BYTES_MAX = 10_000;
const here = dirname(fileURLToPath(import.meta.url));
const served = join(here, "..", "tailtrace_api", "static");
const [out, before] = ["new", "before"].map((name) => join(here, "node_modules", ".built", name));
const page = join(here, "src", "dashboard");
/** Entry points that others link to, by their place in static/ without `.js`. */
const FIXED = {
  "js/components/analytics-widget": join(here, "src", "components", "analytics-widget.js"),
  "js/components/card-views": join(here, "src", "components", "card-views.js"),
};

const options = { bundle: true, minify: true, target: "es2022", charset: "utf8", legalComments: "none", logLevel: "warning" };
await rm(dirname(out), { recursive: true, force: true });
await mkdir(out, { recursive: true });
const { metafile } = await build({
  ...options,
  entryPoints: [join(page, "main.js"), join(page, "theme.js"), join(page, "style", "main.css")],
  outdir: join(out, "assets"),
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  splitting: true,
  format: "esm",
  metafile: true,
});
const components = {
  name: "components",
  setup(made) {
    made.onLoad({ filter: /\.css$/ }, async ({ path }) => ({
      contents: (await transform(await readFile(path, "utf8"), { loader: "css", minify: true, target: options.target })).code,
      loader: "text",
    }));
    // Each stays a file of its own: a page that loads both has one module of it, not two that count twice.
    made.onResolve({ filter: /^\.\/card-views\.js$/ }, ({ path }) => ({ path, external: true }));
  },
};
await build({ ...options, entryPoints: FIXED, outdir: out, format: "esm", plugins: [components] });

const login = join(here, "src", "login");
await build({ ...options, entryPoints: [join(login, "login.js"), join(login, "login.css")], outdir: join(out, "login"), format: "esm" });
await writeFile(join(out, "login", "index.html"), await readFile(join(login, "index.html")));

const names = Object.fromEntries(
  Object.entries(metafile.outputs)
    .filter(([, made]) => made.entryPoint)
    .map(([path, made]) => [basename(made.entryPoint), basename(path)]),
);
const html = (await readFile(join(page, "index.html"), "utf8")).replace(/@([a-z]+\.(?:js|css))@/g, (_, name) => {
  if (!names[name]) throw new Error(`index.html: nothing was built of ${name}`);
  return `/static/assets/${names[name]}`;
});
await writeFile(join(out, "index.html"), html);
await writeFile(join(out, "favicon.svg"), await readFile(join(page, "favicon.svg")));

/** A reader loads the texts of one language: the heaviest counts. Those of an open request are small, and come with it. */
const texts = Object.entries(metafile.outputs).filter(([, made]) => made.entryPoint?.includes("/texts/")).map(([path]) => basename(path));
let weight = 0;
let heaviest = 0;
const weights = [];
for (const entry of await readdir(out, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const path = join(entry.parentPath, entry.name);
  const packed = gzipSync(await readFile(path), { level: 9, memLevel: 7 }); // its smaller blocks suit scripts: 150 bytes less
  await writeFile(`${path}.gz`, packed);
  if (texts.includes(entry.name)) heaviest = Math.max(heaviest, packed.length);
  else if (entry.parentPath === out || entry.parentPath === join(out, "assets")) weight += packed.length;
  else weights.push([entry.name, packed.length]);
}
weight += heaviest;
console.log(`the page weighs ${(weight / 1000).toFixed(1)} kB packed`);
if (weight > PAGE_BYTES_MAX) throw new Error(`more than ${PAGE_BYTES_MAX} bytes`);
for (const [name, packed] of weights) {
  console.log(`${name} weighs ${(packed / 1000).toFixed(1)} kB packed`);
  if (packed > COMPONENT_BYTES_MAX) throw new Error(`${name}: more than ${COMPONENT_BYTES_MAX} bytes`);
}

await mkdir(dirname(served), { recursive: true }); // where the page alone is built, as for the image, it is not there
await rename(served, before).catch(() => rm(served, { recursive: true, force: true }));
await rename(out, served);
await rm(dirname(out), { recursive: true, force: true });
