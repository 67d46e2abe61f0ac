// Turns the texts of docs/pictures/ into pictures, in a real browser, and tries every diagram of the documents.
//
//     node render.mjs ROOT          renders what has changed, and writes down what was rendered
//     node render.mjs ROOT --look [DOCUMENT...]   renders everything, wide and narrow, light and dark, below target/pictures/look
//
// Run by scripts/pictures, which installs the packages.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import puppeteer from 'puppeteer-core';
import { diagrams, log, styles, summary, terminal, withDiagrams } from './pages.mjs';

const [root, look, ...others] = process.argv.slice(2);
const folder = path.join(root, 'docs/pictures');
// What was rendered, a line each: the SHA-256 of a source and its name. A test holds it against what is there.
const record = path.join(folder, 'rendered.txt');

// The pictures that documents show. The other texts are to be read as they are.
const shown = {
    'released.md': {},
    'deployment-failed.md': {},
    'release.log': { unfold: ['Deploy'] },
    'server.txt': {},
};

const sha256 = (text) => createHash('sha256').update(text).digest('hex');
const read = (name) => fs.readFileSync(path.resolve(root, name), 'utf8');

const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // Root has no sandbox; the pages are the project's own.
    args: ['--no-sandbox', '--font-render-hinting=none', '--disable-lcd-text'],
});

async function picture(html, { file, width, theme, scale = 2 }) {
    const page = await browser.newPage();
    await page.setViewport({ width, height: 400, deviceScaleFactor: scale });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: theme }]);
    await page.setContent(`<!doctype html><html data-theme="${theme}"><meta charset="utf-8">${styles(theme)}<body>${html}`);
    await withDiagrams(page, theme);
    const body = await page.$('body');
    await body.screenshot({ path: file });
    await page.close();
}

function pageOf(name, options) {
    const text = fs.readFileSync(path.join(folder, name), 'utf8');
    switch (path.extname(name)) {
        case '.md': return summary(text);
        case '.log': return log(text, options);
        default: return terminal(text);
    }
}

// Every document that can have one.
const pages = ['.', 'docs', 'docs/design'].flatMap((where) => fs.readdirSync(path.join(root, where))
    .filter((name) => name.endsWith('.md')).map((name) => path.join(where, name)).sort());
const documents = [...pages, ...others].flatMap((document) =>
    diagrams(read(document)).map((source) => ({ document, source })));
const lines = [];

if (look) {
    const out = path.join(root, 'target/pictures/look');
    fs.rmSync(out, { recursive: true, force: true });
    fs.mkdirSync(out, { recursive: true });
    const texts = fs.readdirSync(folder).filter((name) => /\.(md|log|txt)$/.test(name) && !['rendered.txt', 'README.md'].includes(name))
        .map((name) => [name, pageOf(name, shown[name])]);
    documents.forEach(({ source }, number) =>
        texts.push([`diagram-${number + 1}`, summary('```mermaid\n' + source + '\n```')]));
    for (const [name, html] of texts) {
        for (const [kind, width, theme] of [['wide', 900, 'light'], ['dark', 900, 'dark'], ['narrow', 400, 'light']]) {
            await picture(html, { file: path.join(out, `${name}.${kind}.png`), width, theme, scale: 1 });
        }
    }
    console.log(`look at ${out}`);
} else {
    const before = fs.existsSync(record) ? fs.readFileSync(record, 'utf8') : '';
    const known = (line, file) => before.includes(`${line}\n`) && (!file || fs.existsSync(file));
    for (const [name, options] of Object.entries(shown)) {
        const line = `${sha256(fs.readFileSync(path.join(folder, name)))}  ${name}`;
        const file = path.join(folder, `${path.parse(name).name}.png`);
        if (!known(line, file)) {
            const theme = name.endsWith('.md') ? 'light' : 'dark';
            await picture(pageOf(name, options), { file, width: 900, theme });
            // A README is loaded by many, and these pages have few colours.
            const colours = theme === 'light' ? '16' : '12';
            execFileSync('pngquant', [colours, '--nofs', '--speed', '1', '--strip', '--force', '--output', file, file]);
            console.log(`rendered ${name}: ${fs.statSync(file).size} bytes`);
        }
        lines.push(line);
    }
    for (const { document, source } of documents) {
        const line = `${sha256(source)}  a diagram of ${document}`;
        if (!known(line)) {
            // Mermaid says where a diagram is wrong; both themes, since GitHub has both.
            for (const theme of ['light', 'dark']) {
                const html = summary('```mermaid\n' + source + '\n```');
                await picture(html, { file: path.join(root, 'target/pictures/diagram.png'), width: 900, theme });
            }
            console.log(`rendered a diagram of ${document}`);
        }
        lines.push(line);
    }
    fs.writeFileSync(record, lines.map((line) => `${line}\n`).join(''));
}
await browser.close();
