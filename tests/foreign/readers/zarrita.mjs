// Open cases in zarrita: node zarrita.mjs PATHS ANSWERS, one path or JSON answer on a line.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import FileSystemStore from "@zarrita/storage/fs";
import * as zarr from "zarrita";

const answers = [];
for (const path of readFileSync(process.argv[2], "utf8").split("\n").filter(Boolean)) {
  try {
    const array = await zarr.open(new FileSystemStore(path), { kind: "array" });
    const { data } = await zarr.get(array);
    const bytes = data.buffer ?? data;
    const view = Buffer.from(bytes, data.byteOffset ?? 0, data.byteLength ?? bytes.byteLength);
    answers.push({ pages: createHash("sha256").update(view).digest("hex").slice(0, 16) });
  } catch (error) {
    answers.push({ error: String(error) });
  }
}
writeFileSync(process.argv[3], answers.map((answer) => JSON.stringify(answer)).join("\n"));
