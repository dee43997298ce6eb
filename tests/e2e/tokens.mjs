// Writes tests/golden/tokens.json: texts of many kinds, each with its size by @anthropic-ai/tokenizer.
// The estimate of `src/format/tokens.rs` is measured against them. `node tests/e2e/tokens.mjs`
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const { countTokens } = createRequire(process.env.TOKENIZER_FROM ?? import.meta.url)(
  "@anthropic-ai/tokenizer",
);
const root = new URL("../../", import.meta.url);
const texts = [];

const add = (kind, text) => texts.push({ kind, tokens: countTokens(text), text });

/** A generator of numbers that is the same every time. */
let state = 20261124;
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const pick = (list) => list[random(list.length)];

/** Pieces of a file of this repository, whole lines. */
function slices(kind, file, count, lines) {
  const all = readFileSync(new URL(file, root), "utf8").split("\n");
  for (let n = 0; n < count; n++) {
    const start = Math.floor((n * Math.max(all.length - lines, 1)) / count);
    add(kind, all.slice(start, start + lines).join("\n"));
  }
}

slices("prose", "README.md", 8, 14);
slices("prose", "CONTRIBUTING.md", 6, 8);
slices("prose", "SECURITY.md", 5, 6);
slices("prose", "docs/redis.md", 11, 12);

const sentences = {
  German: [
    "Der Server beantwortet jede Anfrage innerhalb weniger Millisekunden.",
    "Wenn ein Konto gesperrt ist, wird das nächste verwendet.",
    "Bitte prüfe die Einstellungen, bevor du die Änderungen übernimmst.",
    "Die Übersetzung der Schnittstelle dauert länger als erwartet.",
  ],
  French: [
    "Le serveur répond à chaque requête en quelques millisecondes.",
    "Lorsqu'un compte est bloqué, le suivant est utilisé à sa place.",
    "Vérifiez les réglages avant d'appliquer les changements.",
    "La traduction de l'interface prend plus de temps que prévu.",
  ],
  Spanish: [
    "El servidor responde a cada petición en pocos milisegundos.",
    "Cuando una cuenta está bloqueada, se utiliza la siguiente.",
    "Comprueba la configuración antes de aplicar los cambios.",
    "La traducción de la interfaz tarda más de lo esperado.",
  ],
  Russian: [
    "Сервер отвечает на каждый запрос за несколько миллисекунд.",
    "Если учётная запись заблокирована, используется следующая.",
    "Проверьте настройки перед применением изменений.",
    "Перевод интерфейса занимает больше времени, чем ожидалось.",
  ],
};
const cjk = {
  Japanese: [
    "サーバーは数ミリ秒ですべての要求に応答します。",
    "アカウントがブロックされている場合は、次のアカウントが使われます。",
    "変更を適用する前に設定を確認してください。",
    "画面の翻訳には予想より時間がかかります。",
  ],
  Chinese: [
    "服务器在几毫秒内响应每个请求。",
    "如果一个帐户被锁定，就使用下一个帐户。",
    "请在应用更改之前检查设置。",
    "界面的翻译比预期花费更长的时间。",
  ],
  Korean: [
    "서버는 몇 밀리초 안에 모든 요청에 응답합니다.",
    "계정이 잠기면 다음 계정이 사용됩니다.",
    "변경 사항을 적용하기 전에 설정을 확인하세요.",
    "화면 번역은 예상보다 오래 걸립니다.",
  ],
};
const paragraph = (list, length) => Array.from({ length }, () => pick(list)).join(" ");
for (const list of Object.values(sentences)) {
  for (let n = 0; n < 6; n++) {
    add("languages", paragraph(list, 3 + n));
  }
}
for (const list of Object.values(cjk)) {
  for (let n = 0; n < 8; n++) {
    add("cjk", paragraph(list, 3 + n));
  }
}

for (const file of [
  "src/dispatch/run.rs",
  "src/format/schema.rs",
  "src/store/scripts/admit.lua",
  "tests/e2e/conftest.py",
  "tests/e2e/sdk.test.mjs",
  "scripts/install-deps.sh",
  "src/google/model.rs",
  "public/index.html",
]) {
  slices("code", file, 6, 22);
}

for (const file of ["R1", "R5", "S1"]) {
  slices("json", `tests/golden/conversion/${file}.json`, 5, 24);
}
const words = [
  "account",
  "limit",
  "retry",
  "stream",
  "model",
  "cache",
  "token",
  "quota",
  "path",
  "offset",
  "timeout",
  "region",
  "command",
  "description",
];
const record = () => ({
  id: random(1e6),
  [pick(words)]: `${pick(words)}-${random(999)}`,
  [pick(words)]: random(2) === 0,
  ratio: random(1e4) / 1e4,
  tags: [pick(words), pick(words)],
});
for (let n = 0; n < 15; n++) {
  add("json", JSON.stringify(Array.from({ length: 3 + n }, record), null, n % 3));
}

for (let n = 0; n < 20; n++) {
  const fields = Array.from({ length: 2 + (n % 6) }, () => [
    `${pick(words)}_${pick(words)}`,
    {
      type: pick(["string", "number", "boolean"]),
      description: `The ${pick(words)} of the ${pick(words)} to use for this ${pick(words)}`,
    },
  ]);
  add(
    "schema",
    JSON.stringify({
      name: `${pick(words)}_tool`,
      description: `Reads one ${pick(words)} and returns its ${pick(words)}. Use it before the ${pick(words)} changes.`,
      input_schema: {
        $schema: "https://json-schema.org/draft/2020-12/schema",
        type: "object",
        properties: Object.fromEntries(fields),
        required: [fields[0][0]],
        additionalProperties: false,
      },
    }),
  );
}

const faces = ["😀", "🚀", "🔥", "✅", "❌", "👩‍💻", "🎉", "⚠️", "📦", "🧪"];
for (let n = 0; n < 12; n++) {
  add(
    "emoji",
    Array.from({ length: 8 + n }, () => `${pick(faces)} ${pick(words)}`).join(n % 2 ? "\n" : ", "),
  );
}

for (let n = 0; n < 12; n++) {
  add("base64", Buffer.from(Array.from({ length: 150 + 60 * n }, () => random(256))).toString("base64"));
}

for (let n = 0; n < 14; n++) {
  add(
    "whitespace",
    Array.from(
      { length: 12 + n },
      () =>
        " ".repeat(random(24)) +
        (n % 2 ? "\t".repeat(random(4)) : "") +
        pick(words) +
        "\n".repeat(1 + random(3)),
    ).join(""),
  );
}

for (let n = 0; n < 18; n++) {
  add(
    "log",
    Array.from(
      { length: 6 + n },
      () =>
        `2026-11-${10 + random(19)}T${10 + random(13)}:${10 + random(49)}:${10 + random(49)}.${100 + random(899)}Z ${pick(["INFO", "WARN", "DEBUG", "ERROR"])} gateway::${pick(words)}: ${pick(words)} ${pick(words)} took ${random(5000)}ms id=${random(2 ** 31).toString(16)} addr=10.${random(255)}.${random(255)}.${random(255)}:${1024 + random(60000)}`,
    ).join("\n"),
  );
}

writeFileSync(
  new URL("tests/golden/tokens.json", root),
  `[\n${texts.map((one) => JSON.stringify(one)).join(",\n")}\n]\n`,
);
console.log(`${texts.length} texts, ${texts.reduce((sum, one) => sum + one.tokens, 0)} tokens`);
