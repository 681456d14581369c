// What stands between a button and a change: what it does, why it is done, and the same as a command. And the
// buttons: those of what the caller's role may do.
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type ApiError, toApiError } from "../api/failure.ts";
import { formatTime, timeOf } from "../model/age.ts";
import type { Action } from "../model/action.ts";
import { may } from "../model/role.ts";
import { hrefs } from "../model/route.ts";
import { Command } from "./command.tsx";
import { useStore } from "./use-store.ts";

const longestReason = 256;

function Refused({ failure }: { readonly failure: ApiError | RangeError }) {
  if (failure instanceof RangeError || failure.approval === undefined)
    return (
      <p class="notice critical" role="alert">
        {failure.message}
      </p>
    );
  const { id, expiresAt } = failure.approval;
  const until = timeOf(expiresAt);
  return (
    <p class="notice warning" role="alert">
      <span>
        Nothing is changed yet: another administrator has to approve it
        {until !== undefined && `, until ${formatTime(until)}`}. It waits as <a href={hrefs.change(id)}>{id}</a>.
      </span>
    </p>
  );
}

function ActionDialog({ action, onClose }: { readonly action: Action; readonly onClose: () => void }) {
  const store = useStore();
  const dialog = useRef<HTMLDialogElement>(null);
  const close = useRef<HTMLButtonElement>(null);
  const id = useId();
  const [reason, setReason] = useState("");
  const [field, setField] = useState(action.field?.initial ?? "");
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<ApiError | RangeError>();
  const isWaiting = failure !== undefined && !(failure instanceof RangeError) && failure.approval !== undefined;
  // At once: who types fast is in the dialog, and comes back to its button.
  useLayoutEffect(() => {
    dialog.current?.showModal();
  }, []);
  // There is nothing more to ask for: the button that was pressed is gone.
  useEffect(() => {
    if (isWaiting) close.current?.focus();
  }, [isWaiting]);

  const { run } = action;
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (run === undefined || isBusy) return;
    setBusy(true);
    setFailure(undefined);
    try {
      await run(store.api, reason.trim(), field.trim());
      store.say(action.done);
      dialog.current?.close();
    } catch (error) {
      setFailure(error instanceof RangeError ? error : toApiError(error));
    } finally {
      setBusy(false);
      store.changed();
    }
  };

  return (
    <dialog ref={dialog} aria-labelledby={`${id}-title`} aria-describedby={`${id}-effects`} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <h2 id={`${id}-title`}>{action.title}</h2>
        <ul id={`${id}-effects`} class="effects">
          {action.effects.map((effect) => (
            <li key={effect}>{effect}</li>
          ))}
        </ul>
        {action.field !== undefined && (
          <div class="field">
            <label for={`${id}-field`}>{action.field.label}</label>
            <input
              id={`${id}-field`}
              value={field}
              onInput={({ currentTarget }) => setField(currentTarget.value)}
              aria-describedby={`${id}-help`}
              autocomplete="off"
              required
            />
            <span id={`${id}-help`} class="muted">
              {action.field.help}
            </span>
          </div>
        )}
        {action.hasReason && run !== undefined && (
          <div class="field">
            <label for={`${id}-reason`}>Reason</label>
            <input
              id={`${id}-reason`}
              value={reason}
              onInput={({ currentTarget }) => setReason(currentTarget.value)}
              maxLength={longestReason}
              aria-describedby={`${id}-why`}
              autocomplete="off"
              required
            />
            <span id={`${id}-why`} class="muted">
              Stands in the audit record, with your name
            </span>
          </div>
        )}
        <p class="muted">The same as a command:</p>
        <Command text={action.command(reason, field)} />
        {failure !== undefined && <Refused failure={failure} />}
        <div class="buttons">
          <button type="button" ref={close} onClick={() => dialog.current?.close()}>
            {run === undefined || isWaiting ? "Close" : "Cancel"}
          </button>
          {run !== undefined && !isWaiting && (
            <button type="submit" class={action.isGrave ? "grave" : "primary"} aria-disabled={isBusy}>
              {isBusy ? "Asking …" : action.button}
            </button>
          )}
        </div>
      </form>
    </dialog>
  );
}

/** Where somebody goes on whose buttons are gone. */
function headingOf(element: Element): HTMLElement | null {
  return element.closest("section, .page-head")?.querySelector<HTMLElement>("h1, h2") ?? null;
}

export function Actions({ actions }: { readonly actions: readonly Action[] }) {
  const { who } = useStore();
  const [open, setOpen] = useState<Action>();
  const role = who.state.value.value?.role;
  const offered = actions.filter(({ need }) => may(role, need));
  const group = useRef<HTMLDivElement>(null);
  const buttons = offered.map(({ button }) => button).join();
  const isOpen = open !== undefined;
  const heading = useRef<HTMLElement | null>(null);
  const hasFocus = useRef(false);
  // A button that has done its work is gone, and the focus with it.
  useEffect(() => {
    if (group.current !== null) heading.current = headingOf(group.current);
    if (!isOpen && hasFocus.current && document.activeElement === document.body)
      (group.current ?? heading.current)?.focus({ preventScroll: true });
  }, [buttons, isOpen]);
  // So is a row that somebody has decided.
  useEffect(
    () => () => {
      if (hasFocus.current) heading.current?.focus({ preventScroll: true });
    },
    [],
  );
  if (offered.length === 0 && open === undefined) return null;
  return (
    <div
      class="buttons"
      role="group"
      aria-label="Actions"
      tabIndex={-1}
      ref={group}
      onFocusIn={() => (hasFocus.current = true)}
      onFocusOut={({ relatedTarget }) => {
        // What is taken away loses the focus to nothing.
        if (relatedTarget !== null) hasFocus.current = false;
      }}
    >
      {offered.map((action) => (
        <button
          type="button"
          key={action.button}
          class={action.isGrave ? "grave-outline" : ""}
          aria-label={action.title}
          onClick={() => setOpen(action)}
        >
          {action.button}
        </button>
      ))}
      {open !== undefined && <ActionDialog action={open} onClose={() => setOpen(undefined)} />}
    </div>
  );
}
