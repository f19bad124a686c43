/** Strokes on a 20 by 20 ground. */
export const SHAPES = {
  plus: "M10 4v12M4 10h12",
  search: "M9 4a5 5 0 1 0 0 10 5 5 0 0 0 0-10ZM13 13l4 4",
  menu: "M3 6h14M3 10h14M3 14h14",
  close: "M5 5l10 10M15 5 5 15",
  copy: "M7 7h9v9H7zM4 13V4h9",
  again: "M16 10a6 6 0 1 1-2-4.5M16 3v3.5h-3.5",
  forward: "M5 5l6 5-6 5zM14 5v10",
  edit: "M4 16l1-4 8-8 3 3-8 8zM11 6l3 3",
  bin: "M4 6h12M8 6V4h4v2M6 6l1 10h6l1-10",
  tokens: "M3 6h4M9 6h8M3 10h7M12 10h5M3 14h3M8 14h9",
  source: "M7 6l-4 4 4 4M13 6l4 4-4 4",
  left: "M12 5l-5 5 5 5",
  right: "M8 5l5 5-5 5",
  down: "M5 8l5 5 5-5",
  up: "M10 16V4M5 9l5-5 5 5",
  stop: "M6 6h8v8H6z",
  sliders: "M3 7h8M15 7h2M3 13h2M9 13h8M13 5v4M7 11v4",
  keys: "M3 6h14v8H3zM6 9h.01M10 9h.01M14 9h.01M7 12h6",
  download: "M10 3v9M6 9l4 4 4-4M4 16h12",
  upload: "M10 13V4M6 7l4-4 4 4M4 16h12",
  moon: "M15 12A6 6 0 0 1 8 4a6.5 6.5 0 1 0 7 8Z",
  cube: "M10 3l6 3.5v7L10 17l-6-3.5v-7zM4 6.5l6 3.5 6-3.5M10 10v7",
  tools: "M12 4a4 4 0 0 0-1.6 5.4L4 15.8 5.2 17l6.4-6.4A4 4 0 0 0 16.8 6l-2.5 2.3L12 6.6 14.2 4.2A4 4 0 0 0 12 4Z",
  check: "M4 10l4 4 8-8",
} as const;

export type IconName = keyof typeof SHAPES;
