//! A panic -> one last message.
//!
//! After a panic the instance is in an unknown state: locks are held, promises never
//! settle. The page must hear of it and start over, so the hook tells the worker,
//! and the worker tells the page, before the trap.

use std::cell::RefCell;

use wasm_bindgen::prelude::*;

use crate::backend::cpu::abandon_work;

thread_local! {
    static LISTENER: RefCell<Option<js_sys::Function>> = const { RefCell::new(None) };
}

/// Calls `listener` with a message when the engine panics.
#[wasm_bindgen]
pub fn on_panic(
    #[wasm_bindgen(unchecked_param_type = "(message: string) => void")] listener: js_sys::Function,
) {
    LISTENER.set(Some(listener));
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        let message = JsValue::from(info.to_string());
        LISTENER.with_borrow(|listener| match listener {
            // Nobody is left to hear of a failure here.
            Some(listener) => drop(listener.call1(&JsValue::NULL, &message)),
            // A thread of a pool's: whoever waits for it has a listener.
            None => abandon_work(info.to_string()),
        });
    }));
}

/// Panics: so that what happens then can be tested.
///
/// # Panics
/// Always.
#[wasm_bindgen]
pub fn crash() {
    panic!("crashed on request");
}
