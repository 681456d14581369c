// The frame of each page: its heading, which has the focus when the page opens, and its title in the browser.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

export function Page({
  title,
  head,
  children,
}: {
  readonly title: string;
  /** Stands beside the heading. */
  readonly head?: ComponentChildren;
  readonly children: ComponentChildren;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Claviger`;
    heading.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [title]);
  return (
    <>
      <div class="page-head">
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {head}
      </div>
      {children}
    </>
  );
}
