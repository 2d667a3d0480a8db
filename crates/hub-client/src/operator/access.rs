//! Tokens and provisioning keys.

use holdfast_domain::TokenId;
use holdfast_wire::{
    ProvisioningKeyCreate, ProvisioningKeyCreated, ProvisioningKeyView, TokenCreate, TokenCreated,
    TokenView,
};

use super::Operator;
use crate::problem::CallError;

impl Operator {
    /// Every token.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn tokens(&self) -> Result<Vec<TokenView>, CallError> {
        self.all(self.get(&["tokens"]), "a page of tokens").await
    }

    /// Makes an operator's token.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_token(&self, token: &TokenCreate) -> Result<TokenCreated, CallError> {
        self.fetch(self.post(&["tokens"]).json(token), "the token made")
            .await
    }

    /// Ends a token.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn revoke_token(&self, token: TokenId) -> Result<(), CallError> {
        self.send(self.delete(&["tokens", &token.to_string()]))
            .await
            .map(drop)
    }

    /// Every provisioning key.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn keys(&self) -> Result<Vec<ProvisioningKeyView>, CallError> {
        self.all(
            self.get(&["provisioning-keys"]),
            "a page of provisioning keys",
        )
        .await
    }

    /// Makes a provisioning key.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_key(
        &self,
        key: &ProvisioningKeyCreate,
    ) -> Result<ProvisioningKeyCreated, CallError> {
        self.fetch(self.post(&["provisioning-keys"]).json(key), "the key made")
            .await
    }

    /// Ends a provisioning key.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn revoke_key(&self, key: TokenId) -> Result<(), CallError> {
        self.send(self.delete(&["provisioning-keys", &key.to_string()]))
            .await
            .map(drop)
    }
}
